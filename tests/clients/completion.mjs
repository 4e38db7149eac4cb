// A text gone on from, without a chat template. Prints {"text","finish_reason","usage"}.

import { client, flow, model } from "./client.mjs";

await flow(async () => {
  const prompt = "<|im_start|>user\nWhat is 12 + 30?<|im_end|>\n<|im_start|>assistant\n";
  const completion = await client().completions.create({ model: model(), prompt, temperature: 0, max_tokens: 64 });
  const [choice] = completion.choices;
  return { text: choice.text, finish_reason: choice.finish_reason, usage: completion.usage };
});
