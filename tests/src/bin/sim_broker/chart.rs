//! The chart: the highest rate of each policy, a bar each.

use std::fmt::Write;

use crate::report::{OURS, Report};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const TOP: f64 = 70.0;
const ROW: f64 = 24.0;

const STYLE: &str = "
  .paper { fill: #ffffff; } text { fill: #1f2328; font: 12px system-ui, sans-serif; } .quiet { fill: #57606a; }
  .title { font-size: 16px; font-weight: 600; } .bar { fill: #8c959f; } .ours { fill: #0a58ca; } .bound { stroke: #b35900; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9da7b3; } .bar { fill: #6e7681; } .ours { fill: #79b8ff; }
  }
";

/// The whole picture.
pub fn svg(report: &Report) -> String {
    let rates: Vec<(&str, f64)> =
        report.policies.iter().map(|found| (found.policy, found.best.as_ref().map_or(0.0, |best| best.rate))).collect();
    let most = rates.iter().map(|(_, rate)| *rate).fold(report.bound_rate, f64::max).max(1e-6);
    let height = TOP + ROW * rates.len() as f64 + 40.0;
    let x = |rate: f64| LEFT + rate / most * (WIDTH - LEFT - 70.0);
    let title = format!("Requests a second with nine in ten in time: {} on {}", report.trace, report.fleet);
    let words: Vec<String> = rates.iter().map(|(policy, rate)| format!("{policy} {rate:.1}")).collect();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{title}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"28\">{title}</text>\n\
         <text class=\"quiet\" x=\"16\" y=\"48\">Made up: {}. {} requests, seed {}.</text>\n",
        words.join("; "),
        report.made_up,
        report.requests,
        report.seed
    );
    for (row, (policy, rate)) in rates.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let class = if *policy == OURS { "ours" } else { "bar" };
        let told = if *rate > 0.0 { format!("{rate:.1}") } else { "never".to_owned() };
        put(&mut out, &format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{policy}</text>", LEFT - 8.0, y + 15.0));
        let width = x(*rate) - LEFT;
        put(&mut out, &format!("<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\"/>"));
        put(&mut out, &format!("<text x=\"{:.1}\" y=\"{}\">{told}</text>", x(*rate) + 6.0, y + 14.0));
    }
    let (at, end) = (x(report.bound_rate), height - 34.0);
    put(&mut out, &format!("<line class=\"bound\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{end}\"/>"));
    put(
        &mut out,
        &format!(
            "<text class=\"quiet\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"end\">bound {:.1}</text>",
            end + 16.0,
            report.bound_rate
        ),
    );
    put(&mut out, "</svg>");
    out
}

fn put(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a string takes what is written");
}
