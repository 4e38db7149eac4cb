// The local outbox's page, read as a person reads it.

/** The code in the newest of the mails to `email`, once there are `count` of them. The page looks for new mail by itself. */
export async function codeFor(page, email, count) {
  const mails = page.getByRole("article").filter({ hasText: email });
  await mails.nth(count - 1).waitFor();
  const text = await mails.first().locator("pre").innerText();
  const code = /^\d{8}$/m.exec(text)?.[0];
  if (code === undefined) throw new Error(`no line of this mail is a code:\n${text}`);
  return code;
}
