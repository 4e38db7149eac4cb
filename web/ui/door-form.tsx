import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";
import { Link } from "react-router";
import type { Visit } from "../src/entry";
import type { Failure } from "../src/failure";
import { useI18n } from "../src/i18n";
import { ErrorNotice } from "./error-notice";

/** The limit that the control plane has for a new password (`UserSignUpInput.password`). */
const PASSWORD_CHARS_MIN = 10;
const CODE_DIGITS = 8;

interface DoorFormProps {
  action: string;
  busy: boolean;
  failure: Failure | null | undefined;
  onSubmit: () => void;
  children: ReactNode;
  /** What else leads on from here. */
  footer?: ReactNode;
}

/** A form before a session: its fields, why the last try failed, one button, and other ways on. */
export function DoorForm({ action, busy, failure, onSubmit, children, footer }: DoorFormProps) {
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      <Stack gap="md">
        {children}
        <ErrorNotice failure={failure} />
        <Button type="submit" loading={busy}>
          {action}
        </Button>
        {footer}
      </Stack>
    </form>
  );
}

interface DoorLinkProps {
  text?: string;
  to: string;
  name: string;
  /** Goes along, so that nothing is typed twice. */
  visit: Visit;
}

/** A way to another door. */
export function DoorLink({ text, to, name, visit }: DoorLinkProps) {
  return (
    <Text>
      {text}{" "}
      <Anchor component={Link} to={to} state={visit} underline="always">
        {name}
      </Anchor>
    </Text>
  );
}

interface FieldProps {
  value: string;
  onChange: (text: string) => void;
  failure: Failure | null | undefined;
}

/** The person's address. */
export function EmailField({ value, onChange, failure }: FieldProps) {
  const { t } = useI18n();
  return (
    <TextInput
      label={t.signIn.email}
      type="email"
      autoComplete="username"
      required
      withAsterisk={false}
      error={failure?.param === "email"}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

/** A password: the one there is, or a new one. */
export function PasswordField({ value, onChange, failure, fresh = false }: FieldProps & { fresh?: boolean }) {
  const { t } = useI18n();
  return (
    <PasswordInput
      label={fresh ? t.signUp.newPassword : t.signIn.password}
      description={fresh ? t.signUp.passwordHint : undefined}
      autoComplete={fresh ? "new-password" : "current-password"}
      required
      withAsterisk={false}
      minLength={fresh ? PASSWORD_CHARS_MIN : undefined}
      error={failure?.param === "password"}
      visibilityToggleButtonProps={{ "aria-label": t.signIn.showPassword }}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

/** The code from a mail, which is all that is asked next; spaces that came along are left out. */
export function CodeField({ value, onChange, failure }: FieldProps) {
  const { t } = useI18n();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <TextInput
      label={t.code.label}
      inputMode="numeric"
      autoComplete="one-time-code"
      pattern={`[0-9]{${CODE_DIGITS}}`}
      title={t.code.hint}
      required
      withAsterisk={false}
      ref={field}
      error={failure?.param === "code"}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value.replaceAll(/\D/g, "").slice(0, CODE_DIGITS))}
    />
  );
}
