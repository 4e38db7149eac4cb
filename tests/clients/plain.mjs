// One plain completion. Prints {"id","request_id","model","text","finish_reason","usage"}.

import { ask, client, flow, model } from "./client.mjs";

await flow(async () => {
  const completion = await client().chat.completions.create({
    model: model(),
    messages: ask(process.env.QUESTION ?? "What is 12 + 30?"),
    temperature: 0,
    max_tokens: 64,
  });
  const [choice] = completion.choices;
  return {
    id: completion.id,
    request_id: completion._request_id,
    object: completion.object,
    model: completion.model,
    text: choice.message.content,
    finish_reason: choice.finish_reason,
    usage: completion.usage,
  };
});
