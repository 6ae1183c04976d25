//! The guard of previews: what passes between a visitor and a server inside a session, and what does not (EN-6).
