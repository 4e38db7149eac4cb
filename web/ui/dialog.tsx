import { Group, Modal } from "@mantine/core";
import type { ReactNode } from "react";
import { useI18n } from "../src/i18n";

interface DialogProps {
  title: string;
  onClose: () => void;
  /** True when only the dialog's own button ends it, so that no stray key or click loses what it shows. */
  firm?: boolean;
  children: ReactNode;
}

/** A question or an answer above the screen, which takes the focus and gives it back. */
export function Dialog({ title, onClose, firm = false, children }: DialogProps) {
  const { t } = useI18n();
  return (
    <Modal.Root opened onClose={onClose} closeOnEscape={!firm} closeOnClickOutside={!firm}>
      <Modal.Overlay />
      <Modal.Content>
        {/* Not Modal.Header: outside the page's sections that is a second banner. */}
        <Group justify="space-between" wrap="nowrap" px="md" pt="md" pb="xs">
          <Modal.Title fw={600}>{title}</Modal.Title>
          {!firm && <Modal.CloseButton aria-label={t.cancel} />}
        </Group>
        <Modal.Body>{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
