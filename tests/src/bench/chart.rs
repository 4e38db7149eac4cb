//! A picture of goals: how far each figure is from what must be, to the right of it or to the left.

use std::fmt::Write;

use super::figure::short;
use super::goal::{Goal, Sense, Verdict};

const WIDTH: f64 = 1_080.0;
const LEFT: f64 = 440.0;
const RIGHT: f64 = 890.0;
const TOP: f64 = 92.0;
const ROW: f64 = 28.0;
/// The axis goes from a quarter of what must be to four times that, by powers.
const REACH: f64 = 4.0;

const STYLE: &str = "
  .paper { fill: #ffffff; } text { fill: #1f2328; font: 12px system-ui, sans-serif; }
  .title { font-size: 17px; font-weight: 600; } .quiet { fill: #57606a; } .must { stroke: #1f2328; }
  .stretch { stroke: #57606a; stroke-dasharray: 3 3; } .grid { stroke: #d8dee4; }
  .good { fill: #1a7f37; } .best { fill: #0a58ca; } .bad { fill: #b35900; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9da7b3; } .must { stroke: #e6edf3; }
    .stretch { stroke: #9da7b3; } .grid { stroke: #2b313a; }
    .good { fill: #7ee787; } .best { fill: #79b8ff; } .bad { fill: #ffa657; }
  }
";

/// The whole picture, as SVG.
pub fn svg(title: &str, subtitle: &str, goals: &[Goal]) -> String {
    let height = TOP + ROW * goals.len() as f64 + 44.0;
    let bottom = height - 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{title}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">{title}</text>\n\
         <text class=\"quiet\" x=\"20\" y=\"50\">{}</text>\n",
        escaped(&described(goals)),
        escaped(subtitle),
    );
    for (times, label) in
        [(0.25, "¼ of it"), (0.5, "half"), (1.0, "what must be"), (2.0, "twice as good"), (4.0, "4 ×")]
    {
        let (x, class) = (along(times), if times == 1.0 { "must" } else { "grid" });
        put(&mut out, &format!("<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"));
        let y = TOP - 10.0;
        put(&mut out, &format!("<text class=\"quiet\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
    }
    for (index, goal) in goals.iter().enumerate() {
        row(&mut out, goal, TOP + ROW * (index as f64 + 0.5));
    }
    let y = height - 16.0;
    put(&mut out, &format!("<text class=\"quiet\" x=\"{LEFT}\" y=\"{y}\">dashed: what is hoped for</text>"));
    put(&mut out, "</svg>");
    out
}

fn row(out: &mut String, goal: &Goal, middle: f64) {
    let baseline = middle + 4.0;
    let what = escaped(&goal.what);
    put(out, &format!("<text x=\"{}\" y=\"{baseline:.1}\" text-anchor=\"end\">{what}</text>", LEFT - 12.0));
    if let Some(stretch) = goal.stretch {
        let (x, top, bottom) = (along(goodness(goal, stretch)), middle - 10.0, middle + 10.0);
        put(out, &format!("<line class=\"stretch\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"));
    }
    let class = match goal.verdict() {
        Verdict::Stretch => "best",
        Verdict::Holds => "good",
        Verdict::Fails => "bad",
        Verdict::Unmeasured => "",
    };
    if let Some(measured) = goal.measured {
        let (x, must) = (along(goodness(goal, measured)), along(1.0));
        let (from, width) = (x.min(must), (x - must).abs().max(2.0));
        put(
            out,
            &format!(
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"10\"/>",
                middle - 5.0
            ),
        );
    }
    let said = format!("{}, {}", goal.measured.map_or("–".to_owned(), short), goal.verdict().as_str());
    put(out, &format!("<text x=\"{}\" y=\"{baseline:.1}\">{said}</text>", RIGHT + 14.0));
}

/// How often better than what must be.
fn goodness(goal: &Goal, figure: f64) -> f64 {
    match goal.sense {
        Sense::AtLeast => figure / goal.must,
        Sense::AtMost => goal.must / figure.max(f64::MIN_POSITIVE),
    }
}

fn along(times: f64) -> f64 {
    let share = 0.5 + times.max(f64::MIN_POSITIVE).ln() / REACH.ln() / 2.0;
    LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
}

/// The picture in words, for who cannot see it.
fn described(goals: &[Goal]) -> String {
    let each = goals.iter().map(|goal| {
        let measured = goal.measured.map_or("–".to_owned(), short);
        format!("{}: {measured}, {}", goal.what, goal.verdict().as_str())
    });
    each.collect::<Vec<_>>().join("; ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn put(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_right_of_what_must_be_when_it_is_better_whichever_way_that_is() {
        let goal = |sense, measured| Goal {
            what: "a < b".into(),
            sense,
            must: 2.0,
            stretch: None,
            measured: Some(measured),
            remark: String::new(),
        };
        assert!(along(goodness(&goal(Sense::AtLeast, 3.0), 3.0)) > along(1.0));
        assert!(along(goodness(&goal(Sense::AtMost, 3.0), 3.0)) < along(1.0));
        assert_eq!(along(goodness(&goal(Sense::AtMost, 0.0), 0.0)), RIGHT, "no figure leaves the picture");
        let picture = svg("Goals", "all", &[goal(Sense::AtLeast, 4.0)]);
        assert!(picture.contains("a &lt; b") && picture.contains("class=\"good\""), "{picture}");
    }
}
