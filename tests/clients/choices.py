"""Two choices of one request, whole and streamed, by the official client for Python. Prints {"texts","streamed","usage"}."""

import json
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0)
request = {
    "model": os.environ["MODEL"],
    "messages": [{"role": "user", "content": "What is 12 + 30?"}],
    "temperature": 0,
    "max_tokens": 40,
    "n": 2,
}
completion = client.chat.completions.create(**request)
streamed = ["", ""]
for chunk in client.chat.completions.create(**request, stream=True):
    for choice in chunk.choices:
        streamed[choice.index] += choice.delta.content or ""
usage = completion.usage
print(json.dumps({
    "texts": [choice.message.content for choice in completion.choices],
    "streamed": streamed,
    "usage": {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.prompt_tokens_details.cached_tokens,
        "reasoning_tokens": usage.completion_tokens_details.reasoning_tokens,
    },
}))
