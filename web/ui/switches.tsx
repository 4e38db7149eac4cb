import { ActionIcon, Menu, useMantineColorScheme } from "@mantine/core";
import { type Language, useI18n } from "../src/i18n";
import { Icon } from "./icon";

/** The languages there are, each written in itself. */
export const languages: { code: Language; name: string }[] = [
  { code: "en", name: "English" },
  { code: "zh-Hans", name: "简体中文" },
];

/** The themes there are. */
export const schemes = ["light", "dark", "auto"] as const;

/** Chooses the language. */
export function LanguageSwitch() {
  const { language, setLanguage, t } = useI18n();
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t.language}>
          <Icon name="globe" />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {languages.map(({ code, name }) => (
          <Menu.Item key={code} lang={code} fw={code === language ? 600 : 400} onClick={() => setLanguage(code)}>
            {name}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

/** Chooses light, dark, or what the system says. */
export function ThemeSwitch() {
  const { t } = useI18n();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t.theme.label}>
          <Icon name="contrast" />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {schemes.map((scheme) => (
          <Menu.Item key={scheme} fw={scheme === colorScheme ? 600 : 400} onClick={() => setColorScheme(scheme)}>
            {t.theme[scheme]}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
