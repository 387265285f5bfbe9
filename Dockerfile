# lowres on the CPU: docker build -t lowres . && docker run --rm -v "$PWD:/data" lowres demo
FROM python:3.12-slim

# OpenMP for torch and numba; the slim image has none.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

COPY pyproject.toml README.md LICENSE /lowres/
COPY src /lowres/src
RUN pip install --no-cache-dir "/lowres[demo,study,parquet]"

RUN useradd --create-home researcher
USER researcher
WORKDIR /data
ENTRYPOINT ["lowres"]
CMD ["--help"]
