"""Train with a plain PyTorch loop of your own on a store, as on any map-style dataset.

python examples/torch_dataset.py STORE
"""

import sys

import torch
from torch.utils.data import DataLoader

import lowres

store = lowres.open_store(sys.argv[1])
dataset = lowres.torch_dataset(store, "8-box", "train", image="tensor")  # (3, 8, 8) uint8, label
batches = DataLoader(dataset, batch_size=16, shuffle=True)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, len(store.classes)))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)

for epoch in range(3):
    total = 0.0
    for images, labels in batches:
        loss = torch.nn.functional.cross_entropy(network(images / 255), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch}: loss {total / len(batches):.3f}")
