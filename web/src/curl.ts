/** Where a key stands that is not known, as a shell and as programs find it. */
export const KEY_VARIABLE = "TOKENGRID_KEY";

/** A request as a shell sends it, with the key filled in when there is one. */
export function curl(url: string, body: unknown, secret: string | undefined): string {
  return [
    `curl ${url} \\`,
    `  -H "authorization: Bearer ${secret ?? `$${KEY_VARIABLE}`}" -H "content-type: application/json" \\`,
    `  -d ${quoted(JSON.stringify(body))}`,
  ].join("\n");
}

/** As a shell reads it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
