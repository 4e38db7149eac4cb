import { Group, Stack, Text, TextInput, UnstyledButton } from "@mantine/core";
import { type KeyboardEvent, useId, useState } from "react";
import { useI18n } from "../src/i18n";
import { Dialog } from "./dialog";
import { Icon } from "./icon";

/** Something that can be reached or done from anywhere. */
export interface Command {
  name: string;
  group: string;
  /** Other words that it is found by. */
  also?: string;
  run: () => void;
}

interface PaletteProps {
  commands: Command[];
  onJob: (id: string) => void;
  onClose: () => void;
}

/** Finds any screen, action or receipt by a few letters: arrows choose, Enter does. */
export function Palette({ commands, onJob, onClose }: PaletteProps) {
  const { t } = useI18n();
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useId();
  const found = [...receipts(text.trim(), t.palette.receipt, t.palette.open, onJob), ...matching(commands, text)];

  const follow = (command: Command | undefined) => {
    if (command === undefined) return;
    onClose();
    command.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") follow(found[chosen]);
    if (event.key === "Enter" || step !== undefined) event.preventDefault();
    if (step !== undefined && found.length > 0) setChosen((chosen + step + found.length) % found.length);
  };

  return (
    <Dialog title={t.palette.title} onClose={onClose}>
      <Stack gap={8}>
        <TextInput
          data-autofocus
          aria-label={t.palette.title}
          placeholder={t.palette.hint}
          leftSection={<Icon name="search" />}
          role="combobox"
          aria-expanded
          aria-controls={list}
          aria-activedescendant={found.length > 0 ? `${list}-${chosen}` : undefined}
          autoComplete="off"
          value={text}
          onChange={(event) => {
            setText(event.currentTarget.value);
            setChosen(0);
          }}
          onKeyDown={onKeyDown}
        />
        <Stack gap={0} id={list} role="listbox" aria-label={t.palette.title} mah="50dvh" style={{ overflowY: "auto" }}>
          {found.map((command, place) => (
            <UnstyledButton
              key={`${command.group} ${command.name}`}
              id={`${list}-${place}`}
              role="option"
              aria-selected={place === chosen}
              tabIndex={-1}
              p={8}
              bg={place === chosen ? "var(--mantine-color-default-hover)" : undefined}
              style={{ borderRadius: "var(--mantine-radius-default)" }}
              onMouseMove={() => setChosen(place)}
              onClick={() => follow(command)}
            >
              <Group justify="space-between" wrap="nowrap">
                <Text style={{ overflowWrap: "anywhere" }}>{command.name}</Text>
                <Text c="dimmed" fz="xs">
                  {command.group}
                </Text>
              </Group>
            </UnstyledButton>
          ))}
        </Stack>
        <Text role="status" c="dimmed">
          {found.length === 0 && t.palette.none}
        </Text>
      </Stack>
    </Dialog>
  );
}

function matching(commands: Command[], text: string): Command[] {
  const words = text.toLowerCase().split(/\s+/);
  return commands.filter(({ name, group, also }) => {
    const known = `${name} ${group} ${also ?? ""}`.toLowerCase();
    return words.every((word) => known.includes(word));
  });
}

/** A job's identifier leads to its receipt. */
function receipts(text: string, group: string, open: (id: string) => string, onJob: (id: string) => void): Command[] {
  return /^job_[0-9a-z]+$/.test(text) ? [{ name: open(text), group, run: () => onJob(text) }] : [];
}
