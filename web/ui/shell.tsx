import { ActionIcon, AppShell, Burger, Group, Menu, NavLink, Text, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, useLocation, useNavigate } from "react-router";
import { useExactness } from "../src/exactness";
import { useHotkeys } from "../src/hotkeys";
import { useI18n } from "../src/i18n";
import { Icon } from "./icon";
import { KeyList } from "./key-list";
import { type Command, Palette } from "./palette";
import { groups, type Place } from "./places";
import { languages, LanguageSwitch, schemes, ThemeSwitch } from "./switches";

interface ShellProps {
  email: string;
  tenant: string;
  onSignOut: () => void;
  children: ReactNode;
}

/** The frame around every screen of a person who is signed in. */
export function Shell({ email, tenant, onSignOut, children }: ShellProps) {
  const { t } = useI18n();
  const navigate = useNavigate();
  const { toggle: toggleExact } = useExactness();
  const [menuOpen, menu] = useDisclosure();
  const [searching, search] = useDisclosure();
  const [listing, list] = useDisclosure();
  const commands = useCommands({ onSignOut, onKeys: list.open });
  const content = useContentFocus();
  useHotkeys({ "mod+k": search.open, "/": search.open, "?": list.open, e: toggleExact });
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 232, breakpoint: "sm", collapsed: { mobile: !menuOpen } }}
      padding={{ base: "md", sm: "xl" }}
    >
      <a className="skip-link" href="#content">
        {t.skip}
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap={12} wrap="nowrap">
            <Burger opened={menuOpen} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label={t.menu} aria-expanded={menuOpen} />
            <Brand />
          </Group>
          <Group gap={4} wrap="nowrap">
            <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t.palette.title} onClick={search.open}>
              <Icon name="search" />
            </ActionIcon>
            <LanguageSwitch />
            <ThemeSwitch />
            <Account email={email} tenant={tenant} onKeys={list.open} onSignOut={onSignOut} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" aria-label={t.menu}>
        {groups.map((group) => (
          <Places key={group.name} title={t.groups[group.name]} places={group.places} onFollow={menu.close} />
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1} ref={content}>
        {children}
      </AppShell.Main>
      {searching && <Palette commands={commands} onJob={(id) => void navigate(`/jobs/${id}`)} onClose={search.close} />}
      {listing && <KeyList onClose={list.close} />}
    </AppShell>
  );
}

/** Another screen takes the focus, so that keyboards go on in it and screen readers read it. */
function useContentFocus() {
  const { pathname } = useLocation();
  const content = useRef<HTMLElement>(null);
  const shown = useRef(pathname);
  useEffect(() => {
    if (shown.current === pathname) return;
    shown.current = pathname;
    content.current?.focus({ preventScroll: true });
  }, [pathname]);
  return content;
}

/** All that the palette reaches: every screen, and what the header's buttons do. */
function useCommands({ onSignOut, onKeys }: { onSignOut: () => void; onKeys: () => void }): Command[] {
  const { setLanguage, t } = useI18n();
  const { setColorScheme } = useMantineColorScheme();
  const { toggle } = useExactness();
  const navigate = useNavigate();
  const screens = groups.flatMap((group) =>
    group.places.map(({ to, name }) => ({
      name: t.nav[name],
      group: t.groups[group.name],
      also: name,
      run: () => void navigate(to),
    })),
  );
  const group = t.palette.action;
  return [
    ...screens,
    { name: t.keys.create, group, also: "key create", run: () => void navigate("/keys?make") },
    { name: t.palette.failed, group, also: "failed jobs", run: () => void navigate("/usage?status=FAILED") },
    { name: t.palette.exact, group, also: "exact", run: toggle },
    { name: t.hotkeys.title, group, also: "keyboard help ?", run: onKeys },
    ...schemes.map((scheme) => ({ name: t.theme[scheme], group: t.theme.label, run: () => setColorScheme(scheme) })),
    ...languages.map(({ code, name }) => ({ name, group: t.language, also: code, run: () => setLanguage(code) })),
    { name: t.signOut, group, also: "sign out", run: onSignOut },
  ];
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

function Account({ email, tenant, onKeys, onSignOut }: Omit<ShellProps, "children"> & { onKeys: () => void }) {
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
        <Menu.Item onClick={onKeys}>{t.hotkeys.title}</Menu.Item>
        <Menu.Item onClick={onSignOut}>{t.signOut}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
