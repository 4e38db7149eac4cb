//! The chart: operations a second by callers, a panel for each load, both axes by powers.

use std::fmt::Write;

use ::tests::bench::figure::{grouped, short};

use crate::load::Workload;
use crate::run::Measured;
use crate::sample::Side;

const WIDTH: f64 = 1_080.0;
const HEIGHT: f64 = 460.0;
const PANEL_WIDTH: f64 = 300.0;
const PANEL_HEIGHT: f64 = 280.0;
const LEFT: f64 = 100.0;
const TOP: f64 = 84.0;
const GAP: f64 = 32.0;
/// Room between a panel's edge and its first and last column.
const INSET: f64 = 26.0;

/// Sides with a line: how it is drawn, and its name in the legend.
const LINES: [(Side, &str, &str); 5] = [
    (Side::Ours, "ours", "ours"),
    (Side::OursFilled, "filled", "ours, filled"),
    (Side::Plain, "plain", "plain row-locking ledger"),
    (Side::Pgledger, "pgledger", "pgledger"),
    (Side::Tpcb, "tpcb", "pgbench TPC-B"),
];
/// Sides with one figure: a level across the panel.
const LEVELS: [(Side, &str, &str); 2] =
    [(Side::Raw, "raw", "raw insertions (rows/s)"), (Side::TigerBeetle, "tigerbeetle", "TigerBeetle's own benchmark")];

const STYLE: &str = "
  .paper { fill: #ffffff; } text { fill: #1f2328; font: 12px system-ui, sans-serif; }
  .title { font-size: 17px; font-weight: 600; } .panel { font-size: 13px; font-weight: 600; } .quiet { fill: #57606a; }
  .frame { fill: none; stroke: #8c959f; } .grid { stroke: #d8dee4; } .line { fill: none; stroke-width: 2; }
  .ours { stroke: #0a58ca; --ink: #0a58ca; } .filled { stroke: #0a58ca; stroke-dasharray: 2 4; --ink: #0a58ca; }
  .plain { stroke: #b35900; --ink: #b35900; } .pgledger { stroke: #8250df; --ink: #8250df; }
  .tpcb { stroke: #57606a; --ink: #57606a; } .raw { stroke: #57606a; stroke-dasharray: 7 4; --ink: #57606a; }
  .tigerbeetle { stroke: #1a7f37; stroke-dasharray: 7 4; --ink: #1a7f37; }
  circle { fill: var(--ink); stroke: none; }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9da7b3; }
    .value { stroke: #0d1117; } .frame { stroke: #6e7681; } .grid { stroke: #2b313a; }
    .ours, .filled { stroke: #79b8ff; --ink: #79b8ff; } .plain { stroke: #ffa657; --ink: #ffa657; }
    .pgledger { stroke: #d2a8ff; --ink: #d2a8ff; } .tpcb, .raw { stroke: #9da7b3; --ink: #9da7b3; }
    .tigerbeetle { stroke: #7ee787; --ink: #7ee787; }
  }
";

/// The whole picture.
pub fn svg(measured: &Measured) -> String {
    let mut out = String::new();
    let title = "The ledger beside others: operations a second by callers";
    let scale = Scale::over(measured);
    put(
        &mut out,
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"t d\">\n\
             <title id=\"t\">{title}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"20\" y=\"30\">{title}</text>\n\
             <text class=\"quiet\" x=\"20\" y=\"50\">{}</text>",
            describe(measured),
            subtitle(measured),
        ),
    );
    for (index, workload) in Workload::ALL.into_iter().enumerate() {
        panel(&mut out, measured, &scale, workload, LEFT + index as f64 * (PANEL_WIDTH + GAP));
    }
    let middle = TOP + PANEL_HEIGHT / 2.0;
    put(
        &mut out,
        format!(
            "<text x=\"18\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle})\">\
             operations a second (powers of ten)</text>"
        ),
    );
    legend(&mut out, measured);
    put(&mut out, "</svg>".to_owned());
    out
}

/// Powers of ten from the least rate to the greatest.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn over(measured: &Measured) -> Self {
        let medians = measured.samples.iter().filter_map(|(cell, _)| {
            let median = measured.samples.median(cell.side, cell.workload, cell.callers)?;
            (median.rate > 0.0).then(|| median.rate.log10())
        });
        let (low, high) = medians.fold((f64::MAX, f64::MIN), |(low, high), rate| (low.min(rate), high.max(rate)));
        if low > high {
            return Self { low: 0.0, high: 1.0 };
        }
        Self { low: low.floor(), high: high.ceil().max(low.floor() + 1.0) }
    }

    fn y(&self, rate: f64) -> f64 {
        let share = (rate.max(1e-9).log10() - self.low) / (self.high - self.low);
        TOP + PANEL_HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }
}

fn panel(out: &mut String, measured: &Measured, scale: &Scale, workload: Workload, left: f64) {
    let (right, bottom) = (left + PANEL_WIDTH, TOP + PANEL_HEIGHT);
    put(out, format!("<text class=\"panel\" x=\"{left}\" y=\"{}\">{}</text>", TOP - 10.0, workload.name()));
    for power in scale.low as i32..=scale.high as i32 {
        let y = scale.y(10_f64.powi(power));
        put(out, format!("<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        if workload == Workload::Uniform {
            let label = grouped(10_f64.powi(power));
            put(out, format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", left - 6.0, y + 4.0));
        }
    }
    put(
        out,
        format!("<rect class=\"frame\" x=\"{left}\" y=\"{TOP}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\"/>"),
    );
    let callers = &measured.plan.callers;
    let step = (PANEL_WIDTH - 2.0 * INSET) / (callers.len().max(2) - 1) as f64;
    let column = |index: usize| left + INSET + index as f64 * step;
    for (index, &count) in callers.iter().enumerate() {
        let label = grouped(count as f64);
        let (x, y) = (column(index), bottom + 18.0);
        put(out, format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
    }
    let (x, y) = (left + PANEL_WIDTH / 2.0, bottom + 36.0);
    put(out, format!("<text class=\"quiet\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">callers at a time</text>"));

    for (side, class, _) in LEVELS {
        // What limits insertions is the same for every transfer that is one row; a job is several.
        let load = if side == Side::Raw && workload == Workload::Hot { Workload::Uniform } else { workload };
        if let Some((rate, _)) = measured.samples.best(side, load) {
            let y = scale.y(rate);
            put(
                out,
                format!("<line class=\"line {class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"),
            );
        }
    }
    for (side, class, _) in LINES {
        let rates = callers.iter().enumerate().filter_map(|(index, &count)| {
            let sample = measured.samples.median(side, workload, count)?;
            Some((column(index), scale.y(sample.rate), sample.rate))
        });
        let points: Vec<_> = rates.collect();
        if points.is_empty() {
            continue;
        }
        let path: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
        put(out, format!("<g class=\"{class}\"><polyline class=\"line\" points=\"{}\"/>", path.join(" ")));
        for (x, y, rate) in &points {
            put(out, format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}</title></circle>", short(*rate)));
        }
        put(out, "</g>".to_owned());
    }
    for side in [Side::Ours, Side::Plain] {
        let Some(&count) = callers.last() else { continue };
        let rate = |side| measured.samples.median(side, workload, count).map(|sample| sample.rate);
        // Ours stands above its line, and above that of the filled ledger.
        let highest =
            [Some(side), (side == Side::Ours).then_some(Side::OursFilled)].into_iter().flatten().filter_map(rate);
        if let (Some(own), Some(highest)) = (rate(side), highest.reduce(f64::max)) {
            let (x, y, label) = (column(callers.len() - 1), scale.y(highest) - 9.0, grouped(own));
            put(out, format!("<text class=\"value\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{label}</text>"));
        }
    }
}

fn legend(out: &mut String, measured: &Measured) {
    let mut x = LEFT;
    let y = HEIGHT - 24.0;
    for (side, class, name) in LINES.into_iter().chain(LEVELS) {
        if measured.samples.iter().all(|(cell, _)| cell.side != side) {
            continue;
        }
        let dot = if LINES.iter().any(|line| line.0 == side) { "<circle r=\"3.5\"/>" } else { "" };
        put(
            out,
            format!(
                "<g class=\"{class}\" transform=\"translate({:.0} {:.0})\">\
                 <line class=\"line\" x1=\"-13\" x2=\"13\" y1=\"0\" y2=\"0\"/>{dot}</g>\
                 <text x=\"{:.0}\" y=\"{y}\">{name}</text>",
                x + 13.0,
                y - 4.0,
                x + 32.0
            ),
        );
        x += 32.0 + 7.0 * name.len() as f64 + 18.0;
    }
}

fn subtitle(measured: &Measured) -> String {
    format!(
        "One PostgreSQL {} with fsync, {} processors, sides in turns, medians of {} rounds. Filled: {} transfers.",
        measured.postgres_version,
        measured.processors,
        measured.rounds,
        grouped(measured.filled.rows as f64),
    )
}

/// The headline figures in words, for who cannot see the lines.
fn describe(measured: &Measured) -> String {
    let sides = LINES.into_iter().chain(LEVELS);
    let best = sides.flat_map(|(side, _, name)| {
        Workload::ALL.into_iter().filter_map(move |workload| {
            let (rate, callers) = measured.samples.best(side, workload)?;
            Some(format!("{name}, {}: {} with {callers} callers", workload.name(), short(rate)))
        })
    });
    best.collect::<Vec<_>>().join("; ")
}

fn put(out: &mut String, text: String) {
    writeln!(out, "{text}").expect("a string takes what is written");
}
