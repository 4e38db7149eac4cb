import { Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAttempt } from "../src/attempt";
import { useEntry } from "../src/entry";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { CodeStep } from "../ui/code-step";
import { Door } from "../ui/door";
import { DoorForm, DoorLink, EmailField, PasswordField } from "../ui/door-form";

const signUpMutation = graphql(`
  mutation SignUp($input: UserSignUpInput!) {
    userSignUp(input: $input) {
      challenge {
        ...CodeSent
      }
      refusal {
        ...Refused
      }
    }
  }
`);

const verifyMutation = graphql(`
  mutation Verify($input: UserVerifyInput!) {
    userVerify(input: $input) {
      me {
        id
      }
      refusal {
        ...Refused
      }
    }
  }
`);

/** Makes a person, their tenant and its first credit, once the code from the mail proves the address. */
export function SignUp() {
  const { t } = useI18n();
  const { visit, asked, ask, enter } = useEntry();
  const [tenantName, setTenantName] = useState("");
  const [email, setEmail] = useState(visit.email ?? "");
  const [password, setPassword] = useState("");
  const { attempt, busy, failure } = useAttempt();

  const send = async () => {
    const sent = (await attempt(signUpMutation, { input: { email, password, tenantName } }))?.challenge;
    if (sent) await ask(email, sent);
    return Boolean(sent);
  };
  const prove = async (challengeId: string, code: string) => {
    if (await attempt(verifyMutation, { input: { challengeId, code } })) await enter();
  };

  if (asked) {
    return (
      <Door title={t.code.title}>
        <CodeStep
          email={email}
          sent={asked}
          action={t.code.submit}
          busy={busy}
          failure={failure}
          onCode={(code) => void prove(asked.id, code)}
          // A page that was loaded anew has no password to send again.
          onAgain={password === "" ? undefined : send}
          onOther={() => void ask(email, undefined)}
        />
      </Door>
    );
  }
  const footer = (
    <>
      <Text c="dimmed">{t.signUp.note}</Text>
      <DoorLink text={t.signUp.other} to="/sign-in" name={t.signUp.otherLink} visit={{ ...visit, email }} />
    </>
  );
  return (
    <Door title={t.signUp.title}>
      <DoorForm action={t.signUp.submit} busy={busy} failure={failure} onSubmit={() => void send()} footer={footer}>
        <TextInput
          label={t.signUp.tenant}
          description={t.signUp.tenantHint}
          autoComplete="organization"
          required
          withAsterisk={false}
          maxLength={100}
          error={failure?.param === "tenantName"}
          value={tenantName}
          onChange={(event) => setTenantName(event.currentTarget.value)}
        />
        <EmailField value={email} onChange={setEmail} failure={failure} />
        <PasswordField fresh value={password} onChange={setPassword} failure={failure} />
      </DoorForm>
    </Door>
  );
}
