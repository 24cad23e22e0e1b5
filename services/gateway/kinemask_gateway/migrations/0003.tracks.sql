-- Where the tracks that a job found are stored.
-- depends: 0002.jobs

CREATE TABLE gateway.job_tracks (
    job_id text PRIMARY KEY REFERENCES gateway.jobs ON DELETE CASCADE,
    -- The object that names all others.
    manifest_key text NOT NULL,
    sha256 text NOT NULL
);
