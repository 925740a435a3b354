-- What the daemon saw last of the clocks: a start at an earlier time, or a much later one, is noticed.
CREATE TABLE clock (
    id            BIGINT NOT NULL PRIMARY KEY, -- always 1
    at            BIGINT NOT NULL,             -- the time that deadlines and retention go by
    running       BIGINT NOT NULL,             -- how long the machine had been running, in milliseconds
    boot          TEXT                         -- which start of the machine that was, where the system tells
);
