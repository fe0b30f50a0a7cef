//! The closed sets of label values, with what each value means to an operator.
//!
//! A value never disappears or changes its meaning once released: dashboards name them. The
//! meanings are also the text of `docs/metrics.md`.

/// A label whose values are known when the program is built.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The label's value.
    fn value(self) -> &'static str;
    /// What the value means, as a sentence for an operator.
    fn meaning(self) -> &'static str;
    /// The position in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident: $label:literal {
        $($variant:ident = $value:literal, $meaning:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $meaning] $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value,)+ }
            }

            fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// The protocol that a route speaks on both sides.
    Protocol: "protocol" {
        Postgres = "postgres", "PostgreSQL's frontend/backend protocol.";
        Tds = "tds", "SQL Server's tabular data stream.";
    }
}

label! {
    /// A step of opening an upstream connection.
    Phase: "phase" {
        Dns = "dns", "Name look-up; it is asked on each connect.";
        Tcp = "tcp", "TCP handshake with the address that answered.";
        Tls = "tls", "TLS handshake and verification of the certificate.";
        Login = "login", "Login with the token, until the server is ready for a request.";
    }
}

label! {
    /// What an upstream connection is doing.
    State: "state" {
        Idle = "idle", "Logged in and waiting to be lent.";
        Active = "active", "Lent to a client.";
        Creating = "creating", "Being opened: name look-up, TCP, TLS, login.";
        Cleaning = "cleaning", "Given back, being rolled back or reset before it is lent again.";
        Listening = "listening", "Receives notifications for all clients that wait for some; beside `pool_size`.";
    }
}

label! {
    /// Which socket, and which way.
    Direction: "direction" {
        ClientIn = "client_in", "Read from clients.";
        ClientOut = "client_out", "Written to clients.";
        UpstreamIn = "upstream_in", "Read from the server, after TLS.";
        UpstreamOut = "upstream_out", "Written to the server, before TLS.";
    }
}

label! {
    /// Why an upstream login did not succeed.
    LoginFailure: "class" {
        Token = "token", "No usable token, or the server refused it: expired, wrong audience, wrong tenant.";
        Role = "role", "The server knows no such role or user, or it may not log in.";
        Database = "database", "The database does not exist, or the role or user may not connect to it.";
        Tls = "tls", "TLS failed: certificate, host name, protocol version, or TLS refused.";
        Network = "network", "Name look-up failed, connection refused, reset or unreachable.";
        Timeout = "timeout", "`connect_timeout` passed.";
        TooMany = "too_many", "The server has no connection slot left.";
        Protocol = "protocol", "The server's answer was not understood.";
        Config = "config", "The route asks for something that the server does not offer.";
        Other = "other", "Any other refusal; the log has the server's message.";
    }
}

label! {
    /// Why an upstream connection that had logged in was closed.
    Closed: "reason" {
        Idle = "idle", "Unused for `idle_timeout`.";
        Lifetime = "lifetime", "Older than `max_lifetime`.";
        Server = "server", "The server closed it, or ended it with a fatal error.";
        ClientDied = "client_died", "Its client went away and its state could not be cleaned.";
        Error = "error", "Reading, writing or resetting it failed, or it broke the protocol.";
        Drain = "drain", "entrapool is stopping, or a reload has replaced or removed the route.";
        Token = "token", "It was opened with a token that is not to be used any more.";
        Operator = "operator", "An operator said PAUSE, RECONNECT or KILL on the console.";
        Tainted = "tainted", "Its client left state that nothing removes (`LOAD`, `setseed`, an application role).";
    }
}

label! {
    /// Whose fault the end of a session was.
    Blame: "blame" {
        Client = "client", "The client ended or broke it; normal ends are here too.";
        Upstream = "upstream", "The server, or the way to it.";
        Identity = "identity", "The token, its source, or the server's opinion of it.";
        Proxy = "proxy", "entrapool itself: its limits, its stop, its faults.";
    }
}

label! {
    /// Why a client session ended. The cause decides the blame.
    Cause: "cause" {
        Quit = "quit", "The client said goodbye.";
        Gone = "gone", "The client closed its connection without a word, or it was reset.";
        NoStartup = "no_startup", "Connected and left, or said nothing in time: a port probe.";
        StartupRefused = "startup_refused", "The client asked for what the route does not allow.";
        Malformed = "malformed", "The client broke the protocol.";
        Http = "http", "The client spoke HTTP: a probe at the wrong port, or a browser or server that was made to ask.";
        NotAllowed = "not_allowed", "The client's user is not in `allow_uids`, or is not known.";
        Unreachable = "unreachable", "The server could not be reached: name, network, TLS or time-out.";
        LoginRefused = "login_refused", "The server refused the login, for another reason than the token.";
        ServerClosed = "server_closed", "The server closed the connection while the client used it.";
        ServerMalformed = "server_malformed", "The server broke the protocol.";
        NoToken = "no_token", "There was no valid token.";
        TokenRefused = "token_refused", "The server refused the token.";
        Drain = "drain", "entrapool is stopping.";
        MaxClients = "max_clients", "The route has `max_clients` clients already.";
        PeerLimit = "peer_limit", "The client's user has `max_clients_per_peer` clients already.";
        WaitTimeout = "wait_timeout", "No backend became free within `wait_timeout`.";
        Killed = "killed", "An operator ended it.";
        Deaf = "deaf", "The client listened, and left 1 MiB of notifications unread.";
        Internal = "internal", "A fault in entrapool; the log has it, please report it.";
    }
}

impl Cause {
    /// Whose fault it was.
    pub fn blame(self) -> Blame {
        match self {
            Self::Quit
            | Self::Gone
            | Self::NoStartup
            | Self::StartupRefused
            | Self::Malformed
            | Self::Http
            | Self::NotAllowed
            | Self::Deaf => Blame::Client,
            Self::Unreachable | Self::LoginRefused | Self::ServerClosed | Self::ServerMalformed => {
                Blame::Upstream
            }
            Self::NoToken | Self::TokenRefused => Blame::Identity,
            Self::Drain
            | Self::MaxClients
            | Self::PeerLimit
            | Self::WaitTimeout
            | Self::Killed
            | Self::Internal => Blame::Proxy,
        }
    }
}

label! {
    /// What became of a client's cancel request.
    CancelResult: "result" {
        Sent = "sent", "Passed on to the backend that runs the client's query.";
        Waiting = "waiting", "The client's request still waited for a backend; it was answered, and nothing was sent.";
        Stale = "stale", "The key is unknown, or the client runs nothing now; nothing was sent.";
        Failed = "failed", "The server could not be reached for it.";
    }
}

label! {
    /// What keeps a backend with its client.
    PinReason: "reason" {
        TempTable = "temp_table", "A temporary table, view, sequence, function or procedure.";
        AdvisoryLock = "advisory_lock", "A session-level advisory lock, or a session's application lock.";
        Cursor = "cursor", "A cursor that outlives its transaction, such as one declared WITH HOLD.";
        Listen = "listen", "A channel that the client listens to.";
        Prepared = "prepared", "A statement prepared in SQL (`PREPARE`), or a handle that can't be made again on another backend.";
        Setting = "setting", "A setting that can't be carried: too long, of a name that is not known, or another session authorization.";
        Sequence = "sequence", "A sequence's value for this session (`currval`, `lastval`); until the client ends.";
        Hidden = "hidden", "State that the server does not show (`LOAD`, `setseed`); until the client ends.";
        AppRole = "app_role", "An application role (`sp_setapprole`) or another login's context (`EXECUTE AS`).";
        Context = "context", "`CONTEXT_INFO`, or values of the session context (`sp_set_session_context`).";
        TraceFlag = "trace_flag", "A trace flag of the session (`DBCC TRACEON`).";
        XmlHandle = "xml_handle", "An open XML document (`sp_xml_preparedocument`) or OLE object (`sp_OACreate`).";
        Distributed = "distributed", "A distributed transaction, or a session bound to another one's transaction.";
        Identity = "identity", "A value that an earlier statement left and a later one asks for (`@@IDENTITY` and its like).";
        Procedure = "procedure", "A stored procedure was run, and the route has `pin_on_exec=always`.";
        Unknown = "unknown", "An answer or a text that is not understood: whatever it left, the client keeps it.";
    }
}

label! {
    /// What a session had left when the server was asked.
    ProbeResult: "result" {
        Clean = "clean", "Nothing new: the backend could be lent at once.";
        Carried = "carried", "Settings, which go with the client to its next backend.";
        Pinned = "pinned", "State that can't be carried: the client keeps the backend.";
        Failed = "failed", "The server did not answer the question; the client keeps the backend.";
    }
}

label! {
    /// What a refresh of a token brought.
    RefreshResult: "result" {
        Ok = "ok", "A new token.";
        Same = "same", "The token we had: the source caches, which is normal.";
        Failed = "failed", "No token; the last one is kept until it expires.";
    }
}

label! {
    /// The HTTP status of a token source's answer.
    HttpStatus: "status" {
        Ok = "200", "A token.";
        BadRequest = "400", "Refused: often a wrong or missing `client_id`, or no identity assigned.";
        Unauthorized = "401", "Refused: the identity or its credential is not accepted.";
        Forbidden = "403", "Refused by policy.";
        NotFound = "404", "The endpoint or the identity is not there (IMDS: being updated).";
        MethodNotAllowed = "405", "Something else than the token source answered.";
        Gone = "410", "IMDS is being updated; it is back within 70 s.";
        TooMany = "429", "Throttled: too many callers on this VM.";
        ServerError = "500", "The source failed.";
        BadGateway = "502", "The source failed.";
        Unavailable = "503", "The source is not ready.";
        GatewayTimeout = "504", "The source did not answer in time.";
        Other = "other", "Any other status.";
        None = "none", "No answer: not reachable, reset, or out of time.";
    }
}

impl From<Option<u16>> for HttpStatus {
    fn from(status: Option<u16>) -> Self {
        let Some(code) = status else {
            return Self::None;
        };
        match code {
            200 => Self::Ok,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            410 => Self::Gone,
            429 => Self::TooMany,
            500 => Self::ServerError,
            502 => Self::BadGateway,
            503 => Self::Unavailable,
            504 => Self::GatewayTimeout,
            _ => Self::Other,
        }
    }
}
