import { Button, Select, Stack, Text, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { useAttempt } from "../src/attempt";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { useFreshKey } from "../src/session";
import { Dialog } from "../ui/dialog";
import { ErrorNotice } from "../ui/error-notice";
import { Secret } from "../ui/secret";

const createMutation = graphql(`
  mutation KeyCreate($input: ApiKeyCreateInput!) {
    apiKeyCreate(input: $input) {
      apiKey {
        id
      }
      secret
      refusal {
        ...Refused
      }
    }
  }
`);

const DAY_MS = 86_400_000;
const expiryDays = { never: undefined, month: 30, quarter: 90 } as const;

/** Asks for a name, then shows the secret; only the button closes it then, so that no stray click loses the key. */
export function KeyCreate({ onClose, onMade }: { onClose: () => void; onMade?: () => void }) {
  const { t } = useI18n();
  const [name, setName] = useState("");
  const [expiry, setExpiry] = useState<keyof typeof expiryDays>("never");
  const [secret, setSecret] = useState<string>();
  const { attempt, busy, failure } = useAttempt();
  const { keepFreshKey } = useFreshKey();

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const days = expiryDays[expiry];
    const expiresAt = days === undefined ? null : new Date(Date.now() + days * DAY_MS).toISOString();
    const made = await attempt(createMutation, { input: { name, expiresAt } });
    if (!made?.apiKey || !made.secret) return;
    setSecret(made.secret);
    keepFreshKey({ id: made.apiKey.id, secret: made.secret });
    onMade?.();
  };

  if (secret !== undefined) {
    return (
      <Dialog title={t.keys.shownTitle} onClose={onClose} firm>
        <Stack>
          <Text>{t.keys.shownText}</Text>
          <Secret text={secret} label={name} />
          <Button onClick={onClose}>{t.keys.stored}</Button>
        </Stack>
      </Dialog>
    );
  }
  return (
    <Dialog title={t.keys.create} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <TextInput
            label={t.keys.name}
            description={t.keys.nameHint}
            required
            withAsterisk={false}
            maxLength={100}
            data-autofocus
            error={failure?.param === "name"}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <Select
            label={t.keys.expires}
            allowDeselect={false}
            data={(["never", "month", "quarter"] as const).map((value) => ({ value, label: t.keys.expiry[value] }))}
            value={expiry}
            onChange={(value) => setExpiry(value ?? "never")}
          />
          <ErrorNotice failure={failure} />
          <Button type="submit" loading={busy}>
            {t.keys.create}
          </Button>
        </Stack>
      </form>
    </Dialog>
  );
}
