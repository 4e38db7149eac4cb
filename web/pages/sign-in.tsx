import { useState } from "react";
import { useAttempt } from "../src/attempt";
import { useEntry } from "../src/entry";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { Door } from "../ui/door";
import { DoorForm, DoorLink, EmailField, PasswordField } from "../ui/door-form";

const signInMutation = graphql(`
  mutation SignIn($input: SessionCreateInput!) {
    sessionCreate(input: $input) {
      me {
        id
      }
      refusal {
        ...Refused
      }
    }
  }
`);

/** Opens a session and goes on to where the person wanted to be. */
export function SignIn() {
  const { t } = useI18n();
  const { visit, enter } = useEntry();
  const [email, setEmail] = useState(visit.email ?? "");
  const [password, setPassword] = useState("");
  const { attempt, busy, failure } = useAttempt();
  const submit = async () => {
    if (await attempt(signInMutation, { input: { email, password } })) await enter();
  };
  const onward = { ...visit, email };
  const footer = (
    <>
      <DoorLink to="/forgot-password" name={t.signIn.forgot} visit={onward} />
      <DoorLink text={t.signIn.other} to="/sign-up" name={t.signIn.otherLink} visit={onward} />
    </>
  );
  return (
    <Door title={t.signIn.title}>
      <DoorForm action={t.signIn.submit} busy={busy} failure={failure} onSubmit={() => void submit()} footer={footer}>
        <EmailField value={email} onChange={setEmail} failure={failure} />
        <PasswordField value={password} onChange={setPassword} failure={failure} />
      </DoorForm>
    </Door>
  );
}
