// A picture of a screen, and what is wrong with it: what axe finds, and what nobody could read without scrolling sideways.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setting } from "./browser.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Keeps a picture of what `page` shows under `name`; what is wrong with it becomes a fault. */
export async function picture(page, name, faults) {
  const folder = setting("SCREENSHOTS");
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  faults.push(...(await page.evaluate(faultsOfLayout)).map((fault) => `${name}: ${fault}`));
  await page.evaluate(axe);
  faults.push(...(await page.evaluate(faultsOfAccess)).map((fault) => `${name}: ${fault}`));
}

/** Waits until a screen is there with all that it asked for. */
export async function settled(page) {
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.waitForFunction(() => document.querySelector('[role="status"][aria-label]') === null);
}

/** Waits until a screen is there that still waits for what it asked for. */
export async function waiting(page) {
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.locator('main [role="status"][aria-label]').first().waitFor();
}

/** Runs in the page: nobody has to scroll sideways. */
function faultsOfLayout() {
  const { scrollWidth, clientWidth } = document.documentElement;
  return scrollWidth > clientWidth ? [`it is ${scrollWidth} pixels wide where ${clientWidth} are shown`] : [];
}

/** Runs in the page, after axe. */
async function faultsOfAccess() {
  const rules = { "target-size": { enabled: true } };
  const { violations } = await window.axe.run(document, { resultTypes: ["violations"], rules });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target.join(" ")}: ${failureSummary}`));
}
