import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { Link, useNavigate } from "react-router";
import { useMutation } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { useRenewSession } from "../src/session";
import { Door } from "../ui/door";
import { ErrorNotice } from "../ui/error-notice";

const signUpMutation = graphql(`
  mutation SignUp($input: UserSignUpInput!) {
    userSignUp(input: $input) {
      me {
        id
      }
      refusal {
        code
        message
        param
        retryAfterMs
      }
    }
  }
`);

/** The limits that the control plane has for a new password (`UserSignUpInput.password`). */
const PASSWORD_CHARS_MIN = 10;

/** Makes a person, their tenant and its first credit. */
export function SignUp() {
  const { t } = useI18n();
  const navigate = useNavigate();
  const renew = useRenewSession();
  const [tenantName, setTenantName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [{ data, error, fetching }, signUp] = useMutation(signUpMutation);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const result = await signUp({ input: { email, password, tenantName } });
    if (result.data?.userSignUp?.me) {
      renew();
      await navigate("/", { replace: true });
    }
  };

  return (
    <Door title={t.signUp.title}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack gap="md">
          <TextInput
            label={t.signUp.tenant}
            description={t.signUp.tenantHint}
            autoComplete="organization"
            required
            withAsterisk={false}
            maxLength={100}
            value={tenantName}
            onChange={(event) => setTenantName(event.currentTarget.value)}
          />
          <TextInput
            label={t.signIn.email}
            type="email"
            autoComplete="username"
            required
            withAsterisk={false}
            value={email}
            onChange={(event) => setEmail(event.currentTarget.value)}
          />
          <PasswordInput
            label={t.signIn.password}
            description={t.signUp.passwordHint}
            autoComplete="new-password"
            required
            withAsterisk={false}
            minLength={PASSWORD_CHARS_MIN}
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
          <ErrorNotice failure={failureOf(error) ?? data?.userSignUp?.refusal} />
          <Button type="submit" loading={fetching}>
            {t.signUp.submit}
          </Button>
          <Text c="dimmed">{t.signUp.note}</Text>
          <Text>
            {t.signUp.other}{" "}
            <Anchor component={Link} to="/sign-in">
              {t.signUp.otherLink}
            </Anchor>
          </Text>
        </Stack>
      </form>
    </Door>
  );
}
