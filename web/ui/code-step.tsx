import { Button, Group, Text } from "@mantine/core";
import { type ReactNode, useState } from "react";
import type { Failure } from "../src/failure";
import { graphql } from "../src/gql";
import type { CodeSentFragment } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { CodeField, DoorForm } from "./door-form";

graphql(`
  fragment CodeSent on EmailChallenge {
    id
    expiresAt
  }
`);

interface CodeStepProps {
  email: string;
  /** The latest code. */
  sent: CodeSentFragment;
  action: string;
  busy: boolean;
  failure: Failure | null | undefined;
  onCode: (code: string) => void;
  /** Asks for another code, where that can be done from here; tells whether one is on its way. */
  onAgain: (() => Promise<boolean>) | undefined;
  onOther: () => void;
  /** What is asked beside the code. */
  children?: ReactNode;
}

/** The second step of a form whose address must be proved: the code from the mail, or another mail. */
export function CodeStep({ email, sent, action, busy, failure, onCode, onAgain, onOther, children }: CodeStepProps) {
  const { language, t } = useI18n();
  const [code, setCode] = useState("");
  const [again, setAgain] = useState(false);
  const until = new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(new Date(sent.expiresAt));
  const footer = (
    <div>
      <Group gap={8}>
        {onAgain && (
          <Button variant="default" disabled={busy} onClick={() => void onAgain().then(setAgain)}>
            {t.code.again}
          </Button>
        )}
        <Button variant="subtle" disabled={busy} onClick={onOther}>
          {t.code.other}
        </Button>
      </Group>
      <Text role="status" mt={again ? 8 : 0}>
        {again && t.code.sentAgain}
      </Text>
    </div>
  );
  return (
    <DoorForm action={action} busy={busy} failure={failure} onSubmit={() => onCode(code)} footer={footer}>
      <Text>
        {t.code.sent(email)} {t.code.until(until)}
      </Text>
      <CodeField value={code} onChange={setCode} failure={failure} />
      {children}
    </DoorForm>
  );
}
