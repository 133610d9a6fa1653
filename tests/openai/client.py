"""What users of the official client do, against a running service.

Arguments: base URL, token, model. Ends with "all fine", or with the assertion that failed.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai

base_url, token, model = sys.argv[1:4]
client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=token, max_retries=0, timeout=60)
PROMPT = "fn item_1() {"


def refused(kind, code, ask):
    try:
        ask()
    except kind as error:
        assert error.body["code"] == code, error.body
        return error
    raise AssertionError(f"{code} was not refused")


def models():
    names = [one.id for one in client.models.list()]
    assert model in names, names
    pinned = [name for name in names if name.startswith(f"{model}@")]
    assert pinned, names
    assert client.models.retrieve(model).id == model
    refused(openai.NotFoundError, "not-found", lambda: client.models.retrieve("nobody"))
    return pinned[0]


def completions(pinned):
    ask = dict(model=model, prompt=PROMPT, max_tokens=24, temperature=0.4, seed=7)
    one = client.completions.create(**ask)
    assert one.choices[0].finish_reason in ("length", "stop")
    assert one.usage.completion_tokens <= 24 and one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens
    again = client.completions.create(**ask)
    assert (again.choices[0].text, again.system_fingerprint) == (one.choices[0].text, one.system_fingerprint)
    frozen = client.completions.create(**{**ask, "model": pinned})
    assert frozen.system_fingerprint in pinned

    two = client.completions.create(**{**ask, "prompt": [PROMPT, "let x"], "n": 2})
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    assert two.choices[0].text == one.choices[0].text, "company changes nothing"

    told = client.completions.create(**{**ask, "logprobs": 3})
    choice = told.choices[0]
    assert choice.text == one.choices[0].text
    assert "".join(choice.logprobs.tokens) == choice.text
    assert all(value <= 0 for value in choice.logprobs.token_logprobs)
    assert all(3 <= len(top) <= 4 for top in choice.logprobs.top_logprobs)

    letter = next((letter for letter in one.choices[0].text[3:] if letter.strip()), None)
    if letter:
        cut = client.completions.create(**{**ask, "stop": [letter]})
        assert cut.choices[0].text == one.choices[0].text.split(letter)[0]
        assert cut.choices[0].finish_reason == "stop"
    echo = client.completions.create(**{**ask, "echo": True})
    assert echo.choices[0].text == PROMPT + one.choices[0].text
    return one.choices[0].text


def streams(text):
    ask = dict(model=model, max_tokens=24, temperature=0.4, seed=7, stream=True, stream_options={"include_usage": True})
    chunks = list(client.completions.create(prompt=PROMPT, **ask))
    pieces = [chunk.choices[0].text for chunk in chunks if chunk.choices]
    assert "".join(pieces) == text
    assert len([piece for piece in pieces if piece]) > 3, "token by token"
    assert chunks[-1].usage.completion_tokens >= len(pieces) - 2 and not chunks[-1].choices
    assert all(chunk.usage is None for chunk in chunks[:-1])


def chats():
    ask = dict(model=model, messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "fn"}], temperature=0, seed=3, max_tokens=16)
    answer = client.chat.completions.create(logprobs=True, top_logprobs=2, **ask)
    message = answer.choices[0].message
    assert message.role == "assistant"
    content = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in content).decode() == message.content
    assert all(len(token.top_logprobs) == 2 for token in content)
    parts, finish = [], None
    for chunk in client.chat.completions.create(stream=True, n=1, **ask):
        delta = chunk.choices[0].delta
        parts.append(delta.content or "")
        finish = chunk.choices[0].finish_reason or finish
    assert "".join(parts) == message.content
    assert finish == answer.choices[0].finish_reason
    several = client.chat.completions.create(n=3, **ask)
    assert several.choices[0].message.content == message.content and len(several.choices) == 3


def crowds():
    def ask(seed):
        return client.completions.create(model=model, prompt=PROMPT, max_tokens=32, temperature=1.0, seed=seed).choices[0].text

    alone = [ask(seed) for seed in range(24)]
    with ThreadPoolExecutor(24) as crowd:
        together = list(crowd.map(ask, range(24)))
    assert alone == together, "the same seed gives the same text, alone or beside others"


def hanging_up():
    for _ in range(8):
        stream = client.completions.create(model=model, prompt=PROMPT, max_tokens=512, temperature=2.0, stream=True)
        next(iter(stream))
        stream.close()
    begun = time.monotonic()
    client.completions.create(model=model, prompt=PROMPT, max_tokens=1)
    assert time.monotonic() - begun < 5, "nobody generates for who has gone"


def errors():
    ask = dict(prompt=PROMPT, max_tokens=1)
    refused(openai.NotFoundError, "not-found", lambda: client.completions.create(model="nobody", **ask))
    stranger = openai.OpenAI(base_url=f"{base_url}/v1", api_key="plb_wrong", max_retries=0)
    assert refused(openai.AuthenticationError, "unauthenticated", lambda: stranger.completions.create(model=model, **ask)).status_code == 401
    for more in [{"temperature": 3}, {"max_tokens": 100_000}, {"presence_penalty": 1.0}, {"prompt": [[1, 2]]}]:
        refused(openai.UnprocessableEntityError, "invalid-field", lambda: client.completions.create(**{"model": model, **ask, **more}))
    refused(openai.BadRequestError, "unknown-field", lambda: client.completions.create(model=model, extra_body={"wings": 2}, **ask))
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    messages = [{"role": "user", "content": "u"}]
    refused(openai.UnprocessableEntityError, "invalid-field", lambda: client.chat.completions.create(model=model, messages=messages, tools=[tool]))


pinned = models()
text = completions(pinned)
streams(text)
chats()
crowds()
hanging_up()
errors()
print("all fine")
