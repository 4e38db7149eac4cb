// Embeddings of three texts. Prints {"vectors","tokens"}.

import { client, flow, model } from "./client.mjs";

await flow(async () => {
  const input = ["the cat sat", "a cat sat down.", "12 + 30 = 42"];
  const answer = await client().embeddings.create({ model: model(), input });
  return { vectors: answer.data.map(({ embedding }) => embedding), tokens: answer.usage.prompt_tokens };
});
