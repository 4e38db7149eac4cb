import { Group, Kbd, Stack, Switch, Text } from "@mantine/core";
import { useState } from "react";
import { singleKeys } from "../src/hotkeys";
import { useI18n } from "../src/i18n";
import { Dialog } from "./dialog";

/** Every key that does something, and a switch for those without Ctrl. */
export function KeyList({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const [on, setOn] = useState(singleKeys.on);
  return (
    <Dialog title={t.hotkeys.title} onClose={onClose}>
      <Stack gap={12}>
        {t.hotkeys.list.map(([key, does]) => (
          <Group key={key} justify="space-between" wrap="nowrap">
            <Text>{does}</Text>
            <Kbd style={{ whiteSpace: "nowrap" }}>{key}</Kbd>
          </Group>
        ))}
        <Switch
          label={t.hotkeys.single}
          checked={on}
          onChange={(event) => {
            singleKeys.set(event.currentTarget.checked);
            setOn(event.currentTarget.checked);
          }}
        />
      </Stack>
    </Dialog>
  );
}
