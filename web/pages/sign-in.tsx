import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { Link, useLocation, useNavigate } from "react-router";
import { useMutation } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { useRenewSession } from "../src/session";
import { Door } from "../ui/door";
import { ErrorNotice } from "../ui/error-notice";

const signInMutation = graphql(`
  mutation SignIn($input: SessionCreateInput!) {
    sessionCreate(input: $input) {
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

/** Opens a session and goes on to where the person wanted to be. */
export function SignIn() {
  const { t } = useI18n();
  const location = useLocation();
  const navigate = useNavigate();
  const renew = useRenewSession();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [{ data, error, fetching }, signIn] = useMutation(signInMutation);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const result = await signIn({ input: { email, password } });
    if (result.data?.sessionCreate?.me) {
      renew();
      await navigate(wanted(location.state), { replace: true });
    }
  };

  return (
    <Door title={t.signIn.title}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack gap="md">
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
            autoComplete="current-password"
            required
            withAsterisk={false}
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
          <ErrorNotice failure={failureOf(error) ?? data?.sessionCreate?.refusal} />
          <Button type="submit" loading={fetching}>
            {t.signIn.submit}
          </Button>
          <Text>
            {t.signIn.other}{" "}
            <Anchor component={Link} to="/sign-up">
              {t.signIn.otherLink}
            </Anchor>
          </Text>
        </Stack>
      </form>
    </Door>
  );
}

function wanted(state: unknown): string {
  const from = typeof state === "object" && state !== null && "from" in state ? state.from : undefined;
  return typeof from === "string" ? from : "/";
}
