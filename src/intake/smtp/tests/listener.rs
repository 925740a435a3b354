//! The listener over real sockets.

use tokio::net::{TcpListener, TcpStream};

use super::super::{Door, Server};
use super::*;

#[tokio::test]
async fn sessions_are_limited_and_drained() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (intake, stop) = (bench.intake.clone(), bench.stop.subscribe());
    let server = tokio::spawn(async move {
        let config = intake.config().smtp.clone().unwrap();
        let server = Server::new(&config, None, intake).unwrap();
        server.serve(listener, Door::Smtp, stop).await;
    });
    let connect = || async {
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        Client { stream, session: tokio::spawn(async {}) }
    };
    let mut first = connect().await;
    first.up_to_data().await;
    let mut second = connect().await;
    second.expect(&["220 "]).await;
    let mut third = connect().await;
    third.expect(&["421 4.7.0 fax.example.com has too many sessions at the moment"]).await;
    third.over().await;

    second.send("QUIT\r\n").await;
    second.expect(&["221 "]).await;
    second.over().await;
    // The place is given back just after the connection is closed.
    let mut fourth = loop {
        let mut client = connect().await;
        if client.hear().await.starts_with("220 ") {
            break client;
        }
    };

    bench.stop.send_replace(true);
    fourth.expect(&["421 4.3.2"]).await;
    fourth.over().await;
    let reply = first.say("Subject: x\r\n\r\nbody\r\n.\r\n").await;
    assert_eq!(bench.accepted(&reply).await.0, b"Subject: x\r\n\r\nbody\r\n");
    first.expect(&["421 4.3.2"]).await;
    first.over().await;
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_load_balancer_says_whom_it_speaks_for_and_nobody_else_does() {
    let mut bench = Bench::new().await;
    let text = CONFIG.replace("FOLDER", bench.folder.path().to_str().unwrap());
    let mut config: Config = toml::from_str(&text).unwrap();
    config.sender[0].networks = vec!["192.0.2.0/24".into()];
    config.smtp.as_mut().unwrap().proxy_from = vec!["127.0.0.1".into()];
    let config = Arc::new(config);
    let rules = Arc::new(Rules::compile(&config.rule).unwrap());
    let (store, spool) = (bench.store.clone(), bench.spool.clone());
    let clock = Arc::new(SystemClock);
    bench.intake =
        Intake::new(Arc::clone(&config), store, spool, rules, clock, Arc::new(Notify::new())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(config.smtp.as_ref().unwrap(), None, bench.intake.clone()).unwrap();
    let stop = bench.stop.subscribe();
    tokio::spawn(async move { server.serve(listener, Door::Smtp, stop).await });

    let binary = |client: [u8; 4]| {
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &client, &[127, 0, 0, 1, 4, 0, 0, 25]].concat()
    };
    let cases: &[(&[u8], &str)] = &[
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n", "250 2.1.5"),
        (&binary([192, 0, 2, 8]), "250 2.1.5"),
        (&binary([203, 0, 113, 8]), "550 5.7.1"),
        // The balancer itself is no sender.
        (b"PROXY UNKNOWN\r\n", "550 5.7.1"),
    ];
    for (header, expected) in cases {
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut client = Client { stream, session: tokio::spawn(async {}) };
        client.send(header).await;
        client.send("EHLO x\r\nMAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\n").await;
        client.expect(&["220 ", "250-", "250 2.1.0", expected]).await;
    }
    // Without its header it is not heard.
    let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut client = Client { stream, session: tokio::spawn(async {}) };
    client.send("EHLO client.example.com\r\n").await;
    client.over().await;
}
