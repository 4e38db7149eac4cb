import { curl, KEY_VARIABLE } from "../src/curl";
import type { JobSubmitInput } from "../src/gql/graphql";

/** The languages a request can be copied in. */
export const dialects = ["curl", "Python", "JavaScript", "GraphQL"] as const;

/** One of them. */
export type Dialect = (typeof dialects)[number];

/** The same request as a program would send it, with the key filled in when there is one. */
export function code(dialect: Dialect, input: JobSubmitInput, origin: string, secret: string | undefined): string {
  const literal = secret === undefined ? undefined : JSON.stringify(secret);
  const messages = input.messages.map(({ role, content }) => ({ role: role.toLowerCase(), content }));
  const chat = { model: input.model, messages, max_tokens: input.maxTokens, temperature: input.temperature };
  switch (dialect) {
    case "curl":
      return curl(`${origin}/v1/chat/completions`, { ...chat, stream: true }, secret);
    case "Python":
      return [
        ...(literal === undefined ? ["import os"] : []),
        "from openai import OpenAI",
        "",
        `client = OpenAI(base_url="${origin}/v1", api_key=${literal ?? `os.environ["${KEY_VARIABLE}"]`})`,
        "stream = client.chat.completions.create(",
        `    model=${JSON.stringify(chat.model)},`,
        `    messages=${JSON.stringify(messages)},`,
        `    max_tokens=${chat.max_tokens},`,
        `    temperature=${chat.temperature},`,
        "    stream=True,",
        ")",
        "for chunk in stream:",
        '    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")',
      ].join("\n");
    case "JavaScript":
      return [
        'import OpenAI from "openai";',
        "",
        `const client = new OpenAI({ baseURL: "${origin}/v1", apiKey: ${literal ?? `process.env.${KEY_VARIABLE}`} });`,
        `const stream = await client.chat.completions.create(${JSON.stringify({ ...chat, stream: true }, null, 2)});`,
        'for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");',
      ].join("\n");
    case "GraphQL": {
      const query = "mutation($input: JobSubmitInput!) { jobSubmit(input: $input) { job { id } refusal { code message } } }";
      return curl(`${origin}/graphql`, { query, variables: { input } }, secret);
    }
  }
}
