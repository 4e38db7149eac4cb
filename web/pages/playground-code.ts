import type { JobSubmitInput } from "../src/gql/graphql";

/** The languages a request can be copied in. */
export const dialects = ["curl", "Python", "JavaScript", "GraphQL"] as const;

/** One of them. */
export type Dialect = (typeof dialects)[number];

/** Where people put their key; never a key itself. */
const KEY = "$TOKENGRID_KEY";

/** The same request as a program would send it. */
export function code(dialect: Dialect, input: JobSubmitInput, origin: string): string {
  const messages = input.messages.map(({ role, content }) => ({ role: role.toLowerCase(), content }));
  const chat = { model: input.model, messages, max_tokens: input.maxTokens, temperature: input.temperature };
  switch (dialect) {
    case "curl":
      return [
        `curl ${origin}/v1/chat/completions \\`,
        `  -H "authorization: Bearer ${KEY}" -H "content-type: application/json" \\`,
        `  -d ${quoted(JSON.stringify({ ...chat, stream: true }))}`,
      ].join("\n");
    case "Python":
      return [
        "import os",
        "from openai import OpenAI",
        "",
        `client = OpenAI(base_url="${origin}/v1", api_key=os.environ["TOKENGRID_KEY"])`,
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
        `const client = new OpenAI({ baseURL: "${origin}/v1", apiKey: process.env.TOKENGRID_KEY });`,
        `const stream = await client.chat.completions.create(${JSON.stringify({ ...chat, stream: true }, null, 2)});`,
        'for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");',
      ].join("\n");
    case "GraphQL": {
      const query = "mutation($input: JobSubmitInput!) { jobSubmit(input: $input) { job { id } refusal { code message } } }";
      return [
        `curl ${origin}/graphql \\`,
        `  -H "authorization: Bearer ${KEY}" -H "content-type: application/json" \\`,
        `  -d ${quoted(JSON.stringify({ query, variables: { input } }))}`,
      ].join("\n");
    }
  }
}

/** As a shell reads it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
