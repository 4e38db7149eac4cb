import { Text } from "@mantine/core";
import { useState } from "react";
import { useAttempt } from "../src/attempt";
import { useEntry } from "../src/entry";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { CodeStep } from "../ui/code-step";
import { Door } from "../ui/door";
import { DoorForm, DoorLink, EmailField, PasswordField } from "../ui/door-form";

const requestMutation = graphql(`
  mutation PasswordResetRequest($input: PasswordResetRequestInput!) {
    passwordResetRequest(input: $input) {
      challenge {
        ...CodeSent
      }
      refusal {
        ...Refused
      }
    }
  }
`);

const resetMutation = graphql(`
  mutation PasswordReset($input: PasswordResetInput!) {
    passwordReset(input: $input) {
      me {
        id
      }
      refusal {
        ...Refused
      }
    }
  }
`);

/** Sets a new password for whoever reads the mail of the address, and signs them in. */
export function ForgotPassword() {
  const { t } = useI18n();
  const { visit, asked, ask, enter } = useEntry();
  const [email, setEmail] = useState(visit.email ?? "");
  const [password, setPassword] = useState("");
  const { attempt, busy, failure } = useAttempt();

  const send = async () => {
    const sent = (await attempt(requestMutation, { input: { email } }))?.challenge;
    if (sent) await ask(email, sent);
    return Boolean(sent);
  };
  const prove = async (challengeId: string, code: string) => {
    if (await attempt(resetMutation, { input: { challengeId, code, password } })) await enter();
  };

  if (asked) {
    return (
      <Door title={t.code.title}>
        <CodeStep
          email={email}
          sent={asked}
          action={t.forgot.reset}
          busy={busy}
          failure={failure}
          onCode={(code) => void prove(asked.id, code)}
          onAgain={send}
          onOther={() => void ask(email, undefined)}
        >
          <PasswordField fresh value={password} onChange={setPassword} failure={failure} />
          <Text c="dimmed">{t.forgot.note}</Text>
        </CodeStep>
      </Door>
    );
  }
  const footer = <DoorLink text={t.forgot.other} to="/sign-in" name={t.signIn.title} visit={{ ...visit, email }} />;
  return (
    <Door title={t.forgot.title}>
      <DoorForm action={t.forgot.submit} busy={busy} failure={failure} onSubmit={() => void send()} footer={footer}>
        <Text>{t.forgot.text}</Text>
        <EmailField value={email} onChange={setEmail} failure={failure} />
      </DoorForm>
    </Door>
  );
}
