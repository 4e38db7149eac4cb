import { Group, Stack, Text } from "@mantine/core";
import { useI18n } from "../src/i18n";
import { type Amount, Money } from "./money";

interface Share {
  key: string;
  name: string;
  amount: Amount;
}

/** As many as can be told apart; a table has the rest. */
const SHOWN_MAX = 5;

/** Who took the most money: a bar each from zero, named and counted beside it. */
export function ShareList({ shares, label }: { shares: Share[]; label: string }) {
  const { t } = useI18n();
  const most = Math.max(...shares.map(size), 0);
  const rest = shares.length - SHOWN_MAX;
  return (
    <Stack gap={12}>
      <Stack component="ul" gap={12} m={0} p={0} aria-label={label} style={{ listStyle: "none" }}>
        {shares.slice(0, SHOWN_MAX).map((share) => (
          <li key={share.key}>
            <Group justify="space-between" gap={8} wrap="nowrap">
              <Text style={{ overflowWrap: "anywhere" }}>{share.name}</Text>
              <Text>
                <Money value={share.amount} />
              </Text>
            </Group>
            <svg width="100%" height={12} aria-hidden="true" style={{ display: "block" }}>
              <rect width={`${most > 0 ? (size(share) / most) * 100 : 0}%`} height={12} rx={2} fill="var(--mantine-primary-color-filled)" />
            </svg>
          </li>
        ))}
      </Stack>
      {rest > 0 && <Text c="dimmed">{t.usage.rest(rest)}</Text>}
    </Stack>
  );
}

/** For drawing only: pixels need no exactness. */
function size({ amount }: Share): number {
  return Math.max(Number(amount.amount), 0);
}
