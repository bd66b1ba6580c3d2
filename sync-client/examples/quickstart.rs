//! The ten lines of the README.

use sync_client::{Client, members};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "quickstart-data".to_owned());
    let client = Client::builder(directory).document("notes").open()?; // .hub("http://127.0.0.1:8787")
    let notes = client.document("notes")?.collection("notes");
    let tags = members(["home", "shop"]);
    let (id, written) = notes.insert([("title", "Buy milk".into()), ("tags", tags)])?;
    written.wait_disk()?; // or: written.disk().await?, and written.hub().await?
    notes.update(&id, [("title", "Buy oat milk".into())])?.wait_disk()?;
    for note in notes.list()? {
        println!("{} {}", note.id, note.text("title").unwrap_or("untitled"));
    }
    Ok(client.shutdown()?)
}
