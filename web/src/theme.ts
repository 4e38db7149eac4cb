import { type CSSVariablesResolver, createTheme, type MantineColorsTuple, Menu } from "@mantine/core";

/** The one accent: a deep teal whose filled shade carries white text at AA. */
const accent: MantineColorsTuple = [
  "#effaf8",
  "#d6f1ec",
  "#ade3da",
  "#7fd1c5",
  "#4fbbad",
  "#2a9d90",
  "#178577",
  "#0f766e",
  "#0b5f59",
  "#084a46",
];

/** Colours that mean something; always beside a word. Values are Mantine's variables, so both themes follow. */
export const meaning = { good: "teal", busy: "blue", waiting: "gray", bad: "red", caution: "yellow" } as const;

/** The words that a status can carry. */
export type Meaning = keyof typeof meaning;

const latin = "'Inter', ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial";
const chinese = "'PingFang SC', 'Hiragino Sans GB', 'Microsoft YaHei', 'Noto Sans SC', 'Noto Sans CJK SC'";

/** Every token of the console's looks: a 4-pixel grid, one radius, two text sizes and headings. */
export const theme = createTheme({
  colors: { accent },
  primaryColor: "accent",
  primaryShade: { light: 7, dark: 7 },
  defaultRadius: "md",
  radius: { xs: "8px", sm: "8px", md: "8px", lg: "8px", xl: "8px" },
  spacing: { xs: "8px", sm: "12px", md: "16px", lg: "24px", xl: "32px" },
  fontSizes: { xs: "12px", sm: "14px", md: "14px", lg: "16px", xl: "20px" },
  lineHeights: { xs: "16px", sm: "20px", md: "20px", lg: "24px", xl: "28px" },
  fontFamily: `${latin}, ${chinese}, sans-serif`,
  fontFamilyMonospace: `ui-monospace, 'SF Mono', SFMono-Regular, Menlo, 'DejaVu Sans Mono', ${chinese}, monospace`,
  headings: {
    fontWeight: "600",
    sizes: {
      h1: { fontSize: "24px", lineHeight: "32px" },
      h2: { fontSize: "16px", lineHeight: "24px" },
      h3: { fontSize: "14px", lineHeight: "20px" },
    },
  },
  respectReducedMotion: true,
  cursorType: "pointer",
  // The first item takes the focus; a placeholder between menu and items is none of the children that a menu may have.
  components: { Menu: Menu.extend({ defaultProps: { withInitialFocusPlaceholder: false } }) },
});

/** Quiet text, warnings and red buttons that still pass AA on every background they stand on. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: { "--mantine-color-red-filled": "#c92a2a", "--mantine-color-red-filled-hover": "#a51111" },
  light: {
    "--mantine-color-dimmed": "#5c636a",
    "--mantine-color-placeholder": "#5c636a",
    "--mantine-color-error": "#c92a2a",
    "--mantine-color-yellow-light-color": "#7a4f00",
  },
  dark: {
    "--mantine-color-dimmed": "#adb2b8",
    "--mantine-color-placeholder": "#adb2b8",
    "--mantine-color-error": "#ffa8a8",
    "--mantine-color-red-light-color": "#ffa8a8",
    // A breath of the colour on the dark ground, where the library's own shades shout.
    "--mantine-color-red-light": "rgba(250, 82, 82, 0.15)",
    "--mantine-color-yellow-light": "rgba(250, 176, 5, 0.15)",
    "--mantine-color-yellow-light-color": "#ffd43b",
    "--mantine-color-accent-light": "rgba(42, 157, 144, 0.2)",
    "--mantine-color-accent-light-hover": "rgba(42, 157, 144, 0.28)",
    "--mantine-color-accent-light-color": "#7fd1c5",
  },
});
