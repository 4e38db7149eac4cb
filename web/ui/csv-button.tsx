import { Button } from "@mantine/core";
import { csv, download } from "../src/csv";
import { useI18n } from "../src/i18n";

/** Saves what is seen as a file for spreadsheets: the same rows, exact. */
export function CsvButton({ name, rows }: { name: string; rows: () => string[][] }) {
  const { t } = useI18n();
  return (
    <Button variant="default" size="compact-md" aria-label={`${t.csv}: ${name}`} onClick={() => download(`${name}.csv`, csv(rows()))}>
      {t.csv}
    </Button>
  );
}
