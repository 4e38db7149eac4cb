// A real browser with a fresh profile, and everything that a page of ours must never say in it.
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The environment variable `name`, or the end of the program. */
export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** Runs `visit` with a browser; it fails when `visit` does, or any of what it adds to `faults` is there at its end. */
export async function withBrowser(visit) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: FLAGS });
  const faults = [];
  try {
    await visit(browser, faults);
  } finally {
    await browser.close();
  }
  if (faults.length > 0) throw new Error(`${faults.length} faults:\n${faults.join("\n")}`);
}

/** A new session of a browser; what goes wrong on its pages becomes a fault. */
export async function newContext(browser, faults, options) {
  const context = await browser.newContext(options);
  context.on("console", (message) => {
    // A violation of the content security policy is written to the console as an error, too.
    if (message.type() === "error" || message.type() === "warning") {
      faults.push(`${message.page()?.url()}: ${message.type()}: ${message.text()}`);
    }
  });
  context.on("weberror", (thrown) => faults.push(`${thrown.page()?.url()}: ${thrown.error()}`));
  return context;
}

/** Types an address and a password into the form that asks for them, and sends it. */
export async function signIn(page, email, password) {
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}
