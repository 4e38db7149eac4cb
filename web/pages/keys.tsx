import { Button, Group, Modal, Select, Stack, Table, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { type SubmitEvent, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { useMutation, useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { KeysQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { Id } from "../ui/id";
import { Loading, Page } from "../ui/page";
import { RelativeTime } from "../ui/relative-time";
import { Secret } from "../ui/secret";
import { Status } from "../ui/status";

const keysQuery = graphql(`
  query Keys($after: String) {
    apiKeys(first: 50, after: $after) {
      pageInfo {
        hasNextPage
        endCursor
      }
      nodes {
        id
        name
        hint
        createdAt
        expiresAt
        revokedAt
        lastUsedAt
      }
    }
  }
`);

const createMutation = graphql(`
  mutation KeyCreate($input: ApiKeyCreateInput!) {
    apiKeyCreate(input: $input) {
      apiKey {
        id
      }
      secret
      refusal {
        code
        message
        param
        retryAfterMs
      }
    }
  }
`);

const revokeMutation = graphql(`
  mutation KeyRevoke($input: ApiKeyRevokeInput!) {
    apiKeyRevoke(input: $input) {
      id
      revokedAt
      refusal {
        code
        message
        param
        retryAfterMs
      }
    }
  }
`);

type Key = NonNullable<KeysQuery["apiKeys"]>["nodes"][number];

const DAY_MS = 86_400_000;
const expiryDays = { never: undefined, month: 30, quarter: 90 } as const;

/** Which keys there are, which were used when; made here, and revoked here. */
export function Keys() {
  const { t } = useI18n();
  const [params] = useSearchParams();
  const [{ data, error }, reload] = useQuery({ query: keysQuery, variables: { after: params.get("after") } });
  const [making, { open, close }] = useDisclosure();
  const [revoking, setRevoking] = useState<Key>();
  const refresh = () => reload({ requestPolicy: "network-only" });
  const keys = data?.apiKeys;
  const create = <Button onClick={open}>{t.keys.create}</Button>;
  const next = keys?.pageInfo.hasNextPage === true ? keys.pageInfo.endCursor : undefined;
  return (
    <Page title={t.keys.title} text={t.keys.text} actions={create}>
      <ErrorNotice failure={failureOf(error)} retry={refresh} />
      {data === undefined && error === undefined && <Loading />}
      {keys?.nodes.length === 0 && <EmptyState title={t.keys.empty} text={t.keys.emptyText} action={create} />}
      {keys && keys.nodes.length > 0 && <KeysTable keys={keys.nodes} onRevoke={setRevoking} />}
      {next && (
        <Group>
          <Button component={Link} to={`/keys?after=${encodeURIComponent(next)}`} variant="default">
            {t.older}
          </Button>
        </Group>
      )}
      {making && <CreateDialog onClose={close} onMade={refresh} />}
      {revoking && <RevokeDialog apiKey={revoking} onClose={() => setRevoking(undefined)} onRevoked={refresh} />}
    </Page>
  );
}

function KeysTable({ keys, onRevoke }: { keys: Key[]; onRevoke: (key: Key) => void }) {
  const { t } = useI18n();
  return (
    <Table aria-label={t.keys.title}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>{t.keys.name}</Table.Th>
          <Table.Th visibleFrom="sm">{t.keys.key}</Table.Th>
          <Table.Th>{t.keys.lastUsed}</Table.Th>
          <Table.Th visibleFrom="md">{t.keys.created}</Table.Th>
          <Table.Th visibleFrom="md">{t.keys.expires}</Table.Th>
          <Table.Th visibleFrom="sm">{t.keys.state}</Table.Th>
          <Table.Th>
            <VisuallyHidden>{t.keys.revoke}</VisuallyHidden>
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {keys.map((key) => (
          <Table.Tr key={key.id}>
            <Table.Td>
              <Text fw={600}>{key.name}</Text>
              <Text hiddenFrom="sm" component="div" fz="xs">
                <State apiKey={key} />
              </Text>
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <Id value={key.id} />
              <Text c="dimmed" fz="xs" ff="monospace">
                …{key.hint}
              </Text>
            </Table.Td>
            <Table.Td>{key.lastUsedAt ? <RelativeTime at={key.lastUsedAt} /> : t.never}</Table.Td>
            <Table.Td visibleFrom="md">
              <RelativeTime at={key.createdAt} />
            </Table.Td>
            <Table.Td visibleFrom="md">
              {key.expiresAt ? <RelativeTime at={key.expiresAt} /> : t.keys.expiry.never}
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <State apiKey={key} />
            </Table.Td>
            <Table.Td className="number">
              {!key.revokedAt && (
                <Button
                  variant="subtle"
                  color="red"
                  size="compact-sm"
                  aria-label={t.keys.revokeOf(key.name)}
                  onClick={() => onRevoke(key)}
                >
                  {t.keys.revoke}
                </Button>
              )}
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function State({ apiKey }: { apiKey: Key }) {
  const { t } = useI18n();
  const [now] = useState(() => Date.now());
  if (apiKey.revokedAt) return <Status is="waiting">{t.keys.states.revoked}</Status>;
  if (apiKey.expiresAt && new Date(apiKey.expiresAt).getTime() <= now) {
    return <Status is="caution">{t.keys.states.expired}</Status>;
  }
  return <Status is="good">{t.keys.states.active}</Status>;
}

/** Asks for a name, then shows the secret; only the button closes it then, so that no stray click loses the key. */
function CreateDialog({ onClose, onMade }: { onClose: () => void; onMade: () => void }) {
  const { t } = useI18n();
  const [name, setName] = useState("");
  const [expiry, setExpiry] = useState<keyof typeof expiryDays>("never");
  const [{ data, error, fetching }, create] = useMutation(createMutation);
  const secret = data?.apiKeyCreate?.secret;

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const days = expiryDays[expiry];
    const expiresAt = days === undefined ? null : new Date(Date.now() + days * DAY_MS).toISOString();
    const result = await create({ input: { name, expiresAt } });
    if (result.data?.apiKeyCreate?.secret) onMade();
  };

  if (secret) {
    return (
      <Modal opened onClose={onClose} title={t.keys.shownTitle} closeOnEscape={false} closeOnClickOutside={false} withCloseButton={false}>
        <Stack>
          <Text>{t.keys.shownText}</Text>
          <Secret text={secret} label={name} />
          <Button onClick={onClose}>{t.keys.stored}</Button>
        </Stack>
      </Modal>
    );
  }
  return (
    <Modal opened onClose={onClose} title={t.keys.create} closeButtonProps={{ "aria-label": t.cancel }}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <TextInput
            label={t.keys.name}
            description={t.keys.nameHint}
            required
            withAsterisk={false}
            maxLength={100}
            data-autofocus
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
          <ErrorNotice failure={failureOf(error) ?? data?.apiKeyCreate?.refusal} />
          <Button type="submit" loading={fetching}>
            {t.keys.create}
          </Button>
        </Stack>
      </form>
    </Modal>
  );
}

interface RevokeDialogProps {
  apiKey: Key;
  onClose: () => void;
  onRevoked: () => void;
}

/** Says what stops, and asks for the name. */
function RevokeDialog({ apiKey, onClose, onRevoked }: RevokeDialogProps) {
  const { t } = useI18n();
  const [typed, setTyped] = useState("");
  const [{ data, error, fetching }, revoke] = useMutation(revokeMutation);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const result = await revoke({ input: { id: apiKey.id } });
    if (result.data?.apiKeyRevoke?.revokedAt) {
      onRevoked();
      onClose();
    }
  };

  return (
    <Modal opened onClose={onClose} title={t.keys.revokeTitle(apiKey.name)} closeButtonProps={{ "aria-label": t.cancel }}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Text>{t.keys.revokeText}</Text>
          <Text>
            {t.keys.revokeUsed}: {apiKey.lastUsedAt ? <RelativeTime at={apiKey.lastUsedAt} /> : t.never}
          </Text>
          <TextInput
            label={t.keys.revokeType(apiKey.name)}
            autoComplete="off"
            data-autofocus
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          <ErrorNotice failure={failureOf(error) ?? data?.apiKeyRevoke?.refusal} />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              {t.cancel}
            </Button>
            <Button type="submit" color="red" disabled={typed !== apiKey.name} loading={fetching}>
              {t.keys.revoke}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
