import pytest

from lowres.call import Call, split_at_commas


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("torch.optim:AdamW", {}),
        ("torch.optim:AdamW()", {}),
        ("torch.optim:AdamW(betas=(0.9, 0.95), eps=1e-8)", {"betas": (0.9, 0.95), "eps": 1e-8}),
        ("nets:cell(arch='|a~0|+|b~0|(c),d|')", {"arch": "|a~0|+|b~0|(c),d|"}),
        ("timm:resnet18.a1_in1k( drop_rate = -.1 ,x=None)", {"drop_rate": -0.1, "x": None}),
    ],
)
def test_calls_are_read_and_written_in_one_spelling(text, arguments):
    call = Call.parse(text)
    assert (call.name, call.arguments) == (text.partition("(")[0], arguments)
    assert Call.parse(str(call)) == call


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:f(1)", "must have a name for each argument"),
        ("a:f(**{'x': 1})", "must have a name for each argument"),
        ("a:f(x=1", "must be written"),
        ("a:f(x=1)(y=2)", "must be written"),
        ("a:f(x=1).g", "must be written"),
        ("a:f(x=1) + g(y=1)", "must be written"),
        ("a:f(x=1, x=2)", "must have each argument once"),
        ("a:f(x=__import__('os'))", "must have plain values"),
        ("a:f(x=open)", "must have plain values"),
        ("a:f(x={[]: 1})", "must have plain values"),
        ("a:f(x=" + "(" * 500 + ")" * 500 + ")", "must be written"),
        ("a:f(\0)", "must be written"),
    ],
)
def test_what_is_no_call_of_literals(text, words):
    with pytest.raises(ValueError, match=words):
        Call.parse(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1, 2,3", ["1", "2", "3"]),
        ("a:f(x=(1, 2)), muon", ["a:f(x=(1, 2))", "muon"]),
        ("\"a:f(x='1,2', y=3)\",'b'", ["a:f(x='1,2', y=3)", "b"]),
        ("a:f(x=')'),b", ["a:f(x=')')", "b"]),
        ("a,", ["a", ""]),
        ("size=16,model='a,b',c=1", ["size=16", "model='a,b'", "c=1"]),
        ("cat's, dog's", ["cat's", "dog's"]),
        ("", [""]),
    ],
)
def test_commas_in_brackets_and_quotes_split_nothing(text, parts):
    assert split_at_commas(text) == parts
