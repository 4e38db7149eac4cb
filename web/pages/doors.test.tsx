import { fireEvent, screen, waitFor } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible, open } from "../src/stage";

const SOON = "2026-11-23T12:15:00Z";
const nobody = { Frame: { me: null } };
const someone = { Frame: { me: { id: "user_1", email: "ada@example.com", tenant: { id: "tenant_1", name: "Analytical" } } } };

async function type(label: string, text: string) {
  fireEvent.change(await screen.findByLabelText(label), { target: { value: text } });
}

function press(name: string) {
  fireEvent.click(screen.getByRole("button", { name }));
}

function field(label: string): string {
  return screen.getByLabelText<HTMLInputElement>(label).value;
}

/** A payload that did nothing. */
function refusal(code: string, message: string, more: object = {}) {
  return { challenge: null, me: null, refusal: { code, message, param: null, retryAfterMs: null, ...more } };
}

function challenge(id: string) {
  return { challenge: { id, expiresAt: SOON }, refusal: null };
}

const signedIn = { me: { id: "user_1" }, refusal: null };

async function signUp() {
  await type("Organisation", "Analytical");
  await type("Email", "ada@example.com");
  await type("New password", "difference engine");
  press("Make account");
}

test("who is not signed in is asked to, and comes back to where they wanted to be", async () => {
  const { address, tell } = open("/usage?period=30", { ...nobody, SignIn: { sessionCreate: signedIn } });
  expect(await screen.findByRole("heading", { name: "Sign in" })).toBeTruthy();
  await expectAccessible();
  await type("Email", "ada@example.com");
  await type("Password", "difference engine");
  tell(someone);
  press("Sign in");
  await screen.findByRole("heading", { name: "Usage and balance" });
  expect(address()).toBe("/usage?period=30");
});

test("a wrong password is told in place, and what was typed stays", async () => {
  open("/sign-in", { SignIn: { sessionCreate: refusal("wrong_password", "The email or the password is wrong.") } });
  await type("Email", "ada@example.com");
  await type("Password", "wrong");
  press("Sign in");
  expect((await screen.findByRole("alert")).textContent).toContain("The email or the password is wrong.");
  expect(field("Email")).toBe("ada@example.com");
  expect(field("Password")).toBe("wrong");
  await expectAccessible();
});

test("signing up takes the form, then the code from the mail, on one page", async () => {
  const { address, askedFor, tell } = open("/sign-up", {
    SignUp: { userSignUp: challenge("challenge_1") },
    Verify: { userVerify: signedIn },
  });
  await signUp();
  expect(await screen.findByText(/on its way to ada@example.com/)).toBeTruthy();
  expect(address()).toBe("/sign-up");
  await expectAccessible();
  await type("Code", " 1234 5678 ");
  expect(field("Code")).toBe("12345678");
  tell(someone);
  press("Confirm and sign in");
  await waitFor(() => expect(address()).toBe("/"));
  expect(askedFor("Verify")).toEqual({ input: { challengeId: "challenge_1", code: "12345678" } });
});

test("another code can be asked for, and then only the new one counts", async () => {
  const { askedFor, tell } = open("/sign-up", {
    SignUp: { userSignUp: challenge("challenge_1") },
    Verify: { userVerify: refusal("wrong_code", "The code is wrong.", { param: "code" }) },
  });
  await signUp();
  await type("Code", "11111111");
  press("Confirm and sign in");
  expect((await screen.findByRole("alert")).textContent).toContain("The code is wrong.");
  expect(screen.getByLabelText("Code").getAttribute("aria-invalid")).toBe("true");
  await expectAccessible();
  tell({ SignUp: { userSignUp: challenge("challenge_2") } });
  press("Send again");
  await screen.findByText("A new code is on its way.");
  expect(screen.queryByRole("alert")).toBeNull();
  press("Confirm and sign in");
  await waitFor(() => expect(askedFor("Verify")).toEqual({ input: { challengeId: "challenge_2", code: "11111111" } }));
});

test("too many mails are refused with the wait, and the code can still be typed", async () => {
  const { tell } = open("/sign-up", { SignUp: { userSignUp: challenge("challenge_1") } });
  await signUp();
  await type("Code", "1234");
  tell({ SignUp: { userSignUp: refusal("rate_limited", "The limit of mails is reached.", { retryAfterMs: 642_000 }) } });
  press("Send again");
  expect((await screen.findByRole("alert")).textContent).toContain("in 11 minutes.");
  expect(field("Code")).toBe("1234");
});

test("another address can be given without typing the rest again", async () => {
  open("/sign-up", { SignUp: { userSignUp: challenge("challenge_1") } });
  await signUp();
  await screen.findByLabelText("Code");
  press("Other address");
  expect(field("Email")).toBe("ada@example.com");
  expect(field("Organisation")).toBe("Analytical");
  expect(field("New password")).toBe("difference engine");
});

test("a forgotten password is replaced by whoever reads the address's mail", async () => {
  const { address, askedFor, tell } = open("/sign-in", {
    PasswordResetRequest: { passwordResetRequest: challenge("challenge_3") },
    PasswordReset: { passwordReset: refusal("code_expired", "This code is no longer taken.", { param: "code" }) },
  });
  await type("Email", "ada@example.com");
  fireEvent.click(screen.getByRole("link", { name: "Forgot the password?" }));
  await screen.findByRole("heading", { name: "Forgot the password" });
  expect(field("Email")).toBe("ada@example.com");
  await expectAccessible();
  press("Send a code");
  await type("Code", "12345678");
  await type("New password", "analytical engine");
  press("Set password and sign in");
  expect((await screen.findByRole("alert")).textContent).toContain("This code is no longer taken.");
  expect(field("New password")).toBe("analytical engine");
  await expectAccessible();
  tell({ ...someone, PasswordReset: { passwordReset: signedIn } });
  press("Set password and sign in");
  await waitFor(() => expect(address()).toBe("/"));
  expect(askedFor("PasswordReset")).toEqual({
    input: { challengeId: "challenge_3", code: "12345678", password: "analytical engine" },
  });
});
