"""Embeddings of three texts, by the official client for Python. Prints {"vectors","tokens"}."""

import json
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0)
texts = ["the cat sat", "a cat sat down.", "12 + 30 = 42"]
answer = client.embeddings.create(model=os.environ["MODEL"], input=texts)
print(json.dumps({"vectors": [item.embedding for item in answer.data], "tokens": answer.usage.prompt_tokens}))
