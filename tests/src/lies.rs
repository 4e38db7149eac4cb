//! What a node says that lies: about its work, its clock and its chip.

use primitives::node_protocol::{FromNode, Outlook};

/// Makes a lie of a message: frames of another lease, out of order or with too much text; an end of a lease that it does not have,
/// after frames that it did not send, with a receipt that claims too much by another clock; hardware that is not there.
/// `way` picks which; a message that nothing is gained from lying in stays as it is.
pub fn twist(message: &mut FromNode, way: u32) {
    match message {
        FromNode::Tokens(frame) => match way % 3 {
            0 => frame.epoch += 1,
            1 => frame.seq += 1,
            _ => frame.text = "x".repeat(1 << 20),
        },
        FromNode::Finished { frames, cached_tokens, receipt, .. } => {
            let way = way % 3;
            *cached_tokens = u32::MAX;
            (receipt.receipt.first_token_ms, receipt.receipt.total_ms) = (u32::MAX, 0);
            receipt.receipt.output_tokens += 1_000;
            receipt.receipt.epoch += u32::from(way == 0);
            *frames += u32::from(way == 1);
        }
        FromNode::Heartbeat(load) => {
            for model in &mut load.models {
                model.slots = Some(u32::MAX);
                model.outlook = model.outlook.map(|outlook| Outlook { prompt_token_us: 1, ..outlook });
            }
        }
        _ => {}
    }
}
