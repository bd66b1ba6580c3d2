//! A diary: writes a line, waits until it is on the hub and the lines of others are here, and shows all.

use std::time::Duration;

use sync_client::{Client, members};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: diary DIRECTORY HUB LINE");
    let (directory, hub, line) = (next()?, next()?, next()?);
    let client = Client::builder(directory).document("diary").hub(hub).open()?;
    let lines = client.document("diary")?.collection("lines");
    let tags = members(["draft", "diary"]);
    let (id, written) = lines.insert([("title", line.as_str().into()), ("tags", tags)])?;
    written.disk().await?;
    let tags = members(["diary"]);
    let written = lines.update(&id, [("title", format!("{line}!").into()), ("tags", tags)])?;
    written.wait_disk()?;
    written.hub().await?;
    client.wait_sync(Duration::from_secs(240))?;
    for line in lines.list()? {
        let tags: Vec<_> = line.members("tags").filter_map(|tag| tag.as_str()).collect();
        println!("{} {tags:?}", line.text("title").unwrap_or("untitled"));
    }
    Ok(client.shutdown()?)
}
