import { Box, Group, Stack, Text } from "@mantine/core";
import { type KeyboardEvent, useState } from "react";
import { useI18n } from "../src/i18n";
import { type Amount, Money, moneyText } from "./money";

/** Money of one day. */
export interface Bar {
  /** What the bar is called. */
  name: string;
  amount: Amount;
}

const HEIGHT = 160;
const SLOT = 10;
const GAP = 2;
const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

/**
 * Money over time, from zero. One bar is chosen and told in words above; arrows and the pointer choose another. *Shape*:
 * to a keyboard and a screen reader it is one slider whose value is read as text.
 */
export function BarChart({ bars, label }: { bars: Bar[]; label: string }) {
  const { language, t } = useI18n();
  const [picked, setPicked] = useState<number>();
  const chosen = Math.min(picked ?? bars.length - 1, bars.length - 1);
  const bar = bars[chosen];
  const largest = bars.reduce<Bar | undefined>((most, each) => (size(each) > size(most) ? each : most), bars[0]);
  if (bar === undefined || largest === undefined) return null;

  const onKeyDown = (event: KeyboardEvent) => {
    const next = { Home: 0, End: bars.length - 1 }[event.key] ?? chosen + (STEPS[event.key] ?? 0);
    if (next === chosen) return;
    event.preventDefault();
    setPicked(Math.max(0, Math.min(next, bars.length - 1)));
  };

  return (
    <Stack gap={4}>
      <Group justify="space-between" gap={8}>
        <Text fw={600}>
          {bar.name}: <Money value={bar.amount} />
        </Text>
        <Text c="dimmed" fz="xs">
          {t.usage.highest}: <Money value={largest.amount} />
        </Text>
      </Group>
      <Box
        role="slider"
        tabIndex={0}
        aria-label={label}
        aria-valuemin={1}
        aria-valuemax={bars.length}
        aria-valuenow={chosen + 1}
        aria-valuetext={`${bar.name}: ${moneyText(bar.amount, language)}`}
        onKeyDown={onKeyDown}
      >
        <svg
          viewBox={`0 0 ${bars.length * SLOT} ${HEIGHT}`}
          preserveAspectRatio="none"
          width="100%"
          height={HEIGHT}
          aria-hidden="true"
          style={{ display: "block", borderBlock: "1px solid var(--mantine-color-default-border)" }}
        >
          {bars.map((each, place) => (
            <g key={each.name} onPointerEnter={() => setPicked(place)}>
              <rect x={place * SLOT} y={0} width={SLOT} height={HEIGHT} fill="transparent" />
              <rect
                x={place * SLOT + GAP / 2}
                y={HEIGHT - height(each, largest)}
                width={SLOT - GAP}
                height={height(each, largest)}
                fill={place === chosen ? "var(--mantine-primary-color-filled)" : "var(--mantine-color-gray-6)"}
              />
            </g>
          ))}
        </svg>
      </Box>
      <Group justify="space-between">
        <Text c="dimmed" fz="xs">
          {bars[0]?.name}
        </Text>
        {bars.length > 1 && (
          <Text c="dimmed" fz="xs">
            {bars.at(-1)?.name}
          </Text>
        )}
      </Group>
    </Stack>
  );
}

/** For drawing only: pixels need no exactness. */
function size(bar: Bar | undefined): number {
  return Number(bar?.amount.amount ?? 0);
}

function height(bar: Bar, largest: Bar): number {
  return size(largest) > 0 ? (Math.max(size(bar), 0) / size(largest)) * (HEIGHT - 8) : 0;
}
