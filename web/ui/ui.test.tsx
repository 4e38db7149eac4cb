import { MantineProvider } from "@mantine/core";
import { fireEvent, render, screen } from "@testing-library/react";
import type { ReactNode } from "react";
import { MemoryRouter } from "react-router";
import { expect, test } from "vitest";
import { lineAmount, sum } from "../src/decimal";
import { I18nProvider } from "../src/i18n";
import { theme } from "../src/theme";
import { ErrorNotice } from "./error-notice";
import { shortened } from "./id";
import { Money } from "./money";
import { LanguageSwitch } from "./switches";

function show(content: ReactNode) {
  return render(
    <MantineProvider theme={theme} env="test">
      <I18nProvider>
        <MemoryRouter>{content}</MemoryRouter>
      </I18nProvider>
    </MantineProvider>,
  );
}

/** The text that an amount is printed as, with plain spaces. */
function printed(amount: string, exact: boolean): string {
  const { container, unmount } = show(<Money value={{ amount, currency: "USD" }} exact={exact} />);
  const text = container.querySelector("span")?.textContent?.replaceAll("\u00a0", " ") ?? "";
  unmount();
  return text;
}

test("money is exact where exactness matters", () => {
  expect(printed("0.000003", true)).toBe("USD 0.000003");
  expect(printed("5", true)).toBe("USD 5.00");
  // A float would lose the last digits of both.
  expect(printed("9007199254740993.123456789", true)).toBe("USD 9,007,199,254,740,993.123456789");
  expect(printed("-0.1", true)).toBe("-USD 0.10");
});

test("money is short where it is read at a glance", () => {
  expect(printed("4.999997", false)).toBe("USD 5.00");
  expect(printed("0.0000278123", false)).toBe("USD 0.0000278");
  expect(printed("0", false)).toBe("USD 0.00");
  expect(printed("0.5", false)).toBe("USD 0.50");
  expect(printed("0.1254", false)).toBe("USD 0.125");
});

test("a price times tokens is rounded once, half to even", () => {
  expect(lineAmount("0.1", 22n)).toBe("0.0000022");
  expect(lineAmount("0.0005", 1n)).toBe("0");
  expect(lineAmount("0.0015", 1n)).toBe("0.000000002");
  expect(lineAmount("0.0025", 1n)).toBe("0.000000002");
  expect(sum(["0.0000022", "0.0000008"])).toBe("0.000003");
});

test("a refusal says what happened, its code and when to come back", () => {
  show(<ErrorNotice failure={{ code: "rate_limited", message: "Too many sign-ins.", retryAfterMs: 1500 }} />);
  const alert = screen.getByRole("alert");
  expect(alert.textContent).toContain("Too many sign-ins.");
  expect(alert.textContent).toContain("rate_limited");
  expect(alert.textContent).toContain("in 2 seconds.");
});

test("forbidden says who can grant it", () => {
  show(<ErrorNotice failure={{ code: "forbidden", message: "This takes an operator." }} />);
  expect(screen.getByRole("alert").textContent).toContain("can grant it");
});

test("no failure shows nothing", () => {
  show(<ErrorNotice failure={undefined} />);
  expect(screen.queryByRole("alert")).toBeNull();
});

test("the language switch changes the words, the document and the next visit", async () => {
  show(
    <>
      <LanguageSwitch />
      <ErrorNotice failure={{ code: "insufficient_funds", message: "Short of 0.5 USD." }} />
    </>,
  );
  fireEvent.click(screen.getByRole("button", { name: "Language" }));
  fireEvent.click(await screen.findByText("简体中文"));
  expect(screen.getByRole("alert").textContent).toContain("余额不足");
  expect(document.documentElement.lang).toBe("zh-Hans");
  expect(window.localStorage.getItem("tokengrid.language")).toBe("zh-Hans");
});

test("an identifier is shortened in the middle", () => {
  expect(shortened("job_01935d2e8f7a7c3e9b1d4f6a8c0e2b4d")).toBe("job_01935…0e2b4d");
  expect(shortened("short")).toBe("short");
});
