//! Tables: a report as people read it in a terminal.

use std::fmt::Write;

use super::figure::{Figure, Group};
use super::report::Report;

impl Report {
    /// Every section with its name; figures of the two periods stand side by side, and a list has a line for each item.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for (name, figure) in self.figures() {
            section(&mut out, name, figure);
        }
        out
    }
}

/// More groups than these stand below one another.
const COLUMNS_MAX: usize = 3;

fn section(out: &mut String, name: &str, figure: &Figure) {
    match figure {
        Figure::Group(group) if group.values().all(is_group) && !is_ratio(group) => {
            heading(out, name);
            let grid = columns(group);
            write_grid(out, &if group.len() > COLUMNS_MAX { turned(&grid) } else { grid });
        }
        Figure::Group(group) if group.values().any(|figure| matches!(figure, Figure::List(_))) => {
            for (part, figure) in group {
                section(out, &format!("{name}: {part}"), figure);
            }
        }
        Figure::Group(group) => {
            heading(out, name);
            write_grid(out, &group.iter().map(|(name, figure)| vec![name.clone(), cell(figure)]).collect::<Vec<_>>());
        }
        Figure::List(items) if items.iter().any(is_group) => {
            heading(out, name);
            write_grid(out, &lines(items));
        }
        Figure::List(items) if items.is_empty() => {}
        _ => line(out, &format!("{name}: {}", cell(figure))),
    }
}

/// One line for each figure, one column for each group.
fn columns(groups: &Group) -> Vec<Vec<String>> {
    let mut names: Vec<&String> = Vec::new();
    for figure in groups.values() {
        let Figure::Group(group) = figure else { continue };
        names.extend(group.keys().filter(|&name| !names.contains(&name)).collect::<Vec<_>>());
    }
    let mut grid = vec![std::iter::once(String::new()).chain(groups.keys().cloned()).collect::<Vec<_>>()];
    for name in names {
        let row = groups.values().map(|figure| match figure {
            Figure::Group(group) => group.get(name).map_or_else(String::new, cell),
            _ => String::new(),
        });
        grid.push(std::iter::once(name.clone()).chain(row).collect());
    }
    grid
}

/// Lines as columns.
fn turned(grid: &[Vec<String>]) -> Vec<Vec<String>> {
    let count = grid.first().map_or(0, Vec::len);
    (0..count).map(|at| grid.iter().map(|row| row[at].clone()).collect()).collect()
}

/// One line for each item, one column for each figure.
fn lines(items: &[Figure]) -> Vec<Vec<String>> {
    let groups: Vec<&Group> =
        items.iter().filter_map(|item| if let Figure::Group(g) = item { Some(g) } else { None }).collect();
    let Some(first) = groups.first() else { return Vec::new() };
    let names: Vec<&String> = first.keys().filter(|name| !name.starts_with("exact_")).collect();
    let mut grid = vec![names.iter().map(|&name| name.clone()).collect::<Vec<_>>()];
    grid.extend(groups.iter().map(|g| names.iter().map(|&name| g.get(name).map_or_else(String::new, cell)).collect()));
    grid
}

fn cell(figure: &Figure) -> String {
    match figure {
        Figure::Absent => "-".to_owned(),
        Figure::Text(text) => text.clone(),
        Figure::Count(count) => count.to_string(),
        Figure::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Figure::Group(group) => match group.get("dec") {
            Some(decimal) => cell(decimal),
            None => {
                group.iter().map(|(name, figure)| format!("{name} {}", cell(figure))).collect::<Vec<_>>().join("; ")
            }
        },
        Figure::List(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
    }
}

/// The first column to the left, the others to the right unless they are words.
fn write_grid(out: &mut String, grid: &[Vec<String>]) {
    let count = grid.iter().map(Vec::len).max().unwrap_or(0);
    let text = |at: usize, row: &[String]| row.get(at).cloned().unwrap_or_default();
    let width = |at| grid.iter().map(|row| text(at, row).chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in grid {
        let cells = (0..count).map(|at| {
            let (text, width) = (text(at, row), widths[at]);
            if at == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
        });
        line(out, &format!("  {}", cells.collect::<Vec<_>>().join("  ")));
    }
}

fn heading(out: &mut String, name: &str) {
    line(out, &format!("\n{name}"));
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{}", text.trim_end()).expect("a string takes everything");
}

fn is_group(figure: &Figure) -> bool {
    matches!(figure, Figure::Group(_))
}

/// A fraction or a weighed count, which is one figure.
fn is_ratio(group: &Group) -> bool {
    group.contains_key("dec")
}
