import { ActionIcon, AppShell, Burger, Group, Menu, NavLink, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import type { ReactNode } from "react";
import { Link, useLocation } from "react-router";
import { useI18n, type Words } from "../src/i18n";
import { Icon, type IconName } from "./icon";
import { LanguageSwitch, ThemeSwitch } from "./switches";

interface Place {
  to: string;
  name: keyof Words["nav"];
  icon: IconName;
}

/** What exists, in the console's groups; a group without a page is not shown. */
const groups: { name: keyof Words["groups"]; places: Place[] }[] = [
  {
    name: "build",
    places: [
      { to: "/", name: "home", icon: "home" },
      { to: "/playground", name: "playground", icon: "play" },
      { to: "/keys", name: "keys", icon: "key" },
    ],
  },
  { name: "spend", places: [{ to: "/usage", name: "usage", icon: "coins" }] },
  { name: "supply", places: [{ to: "/supply/nodes", name: "nodes", icon: "nodes" }] },
];

interface ShellProps {
  email: string;
  tenant: string;
  onSignOut: () => void;
  children: ReactNode;
}

/** The frame around every screen of a person who is signed in. */
export function Shell({ email, tenant, onSignOut, children }: ShellProps) {
  const { t } = useI18n();
  const [open, { toggle, close }] = useDisclosure();
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 232, breakpoint: "sm", collapsed: { mobile: !open } }}
      padding={{ base: "md", sm: "xl" }}
    >
      <a className="skip-link" href="#content">
        {t.skip}
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap={12} wrap="nowrap">
            <Burger opened={open} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={t.menu} />
            <Brand />
          </Group>
          <Group gap={4} wrap="nowrap">
            <LanguageSwitch />
            <ThemeSwitch />
            <Account email={email} tenant={tenant} onSignOut={onSignOut} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" aria-label={t.menu}>
        {groups.map((group) => (
          <Places key={group.name} title={t.groups[group.name]} places={group.places} onFollow={close} />
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        {children}
      </AppShell.Main>
    </AppShell>
  );
}

/** The mark and the name. */
export function Brand() {
  const { t } = useI18n();
  return (
    <Group gap={8} wrap="nowrap">
      <img src="/icon.svg" width={24} height={24} alt="" />
      <Text fw={600} fz="lg">
        {t.product}
      </Text>
    </Group>
  );
}

function Places({ title, places, onFollow }: { title: string; places: Place[]; onFollow: () => void }) {
  const { t } = useI18n();
  const { pathname } = useLocation();
  return (
    <>
      <Text c="dimmed" fz="xs" px={12} pt={16} pb={4}>
        {title}
      </Text>
      {places.map(({ to, name, icon }) => (
        <NavLink
          key={to}
          component={Link}
          to={to}
          label={t.nav[name]}
          leftSection={<Icon name={icon} />}
          active={pathname === to}
          aria-current={pathname === to ? "page" : undefined}
          onClick={onFollow}
          style={{ borderRadius: "var(--mantine-radius-default)" }}
        />
      ))}
    </>
  );
}

function Account({ email, tenant, onSignOut }: Omit<ShellProps, "children">) {
  const { t } = useI18n();
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t.account}>
          <Icon name="person" />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {tenant}
          <br />
          {email}
        </Menu.Label>
        <Menu.Item onClick={onSignOut}>{t.signOut}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
