//! How long the disk takes to make a write durable, measured as PostgreSQL writes its log.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;

const FILE_BYTES: usize = 8 << 20;
const PAGE_BYTES: usize = 8 << 10;

/// The mean of `writes` times that an 8 KiB page is overwritten in a file of `folder` and `fdatasync` called; the mean, because
/// many disks answer either at once or at their next tick. *Units*: seconds.
pub fn sync_seconds(folder: &Path, writes: usize) -> anyhow::Result<f64> {
    let path = folder.join(format!("bench_disk_{}", std::process::id()));
    let times = times(&path, writes).with_context(|| format!("writing {}", path.display()));
    drop(fs::remove_file(&path));
    Ok(times?.iter().sum::<f64>() / writes as f64)
}

fn times(path: &Path, writes: usize) -> anyhow::Result<Vec<f64>> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; FILE_BYTES])?;
    file.sync_all()?;
    let page = [7; PAGE_BYTES];
    let mut times = Vec::with_capacity(writes);
    for number in 0..writes {
        file.seek(SeekFrom::Start((number * PAGE_BYTES % FILE_BYTES) as u64))?;
        let began = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}
