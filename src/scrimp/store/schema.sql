CREATE TABLE exchanges (
    exchange_id TEXT NOT NULL,
    opened_at_ms BIGINT NOT NULL,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    payer TEXT,
    closed_at_ms BIGINT,
    first_token_at_ms BIGINT,
    principal TEXT,
    tenant TEXT,
    project TEXT,
    session_id TEXT,
    agent_id TEXT,
    parent_agent_id TEXT,
    agent_type TEXT,
    request_class TEXT,
    prompt_id TEXT,
    client TEXT,
    task_tag TEXT,
    task_type TEXT,
    requested_model TEXT,
    served_model TEXT,
    message_id TEXT,
    request_id TEXT,
    http_status BIGINT,
    stop_reason TEXT,
    error_type TEXT,
    usage_complete BOOLEAN NOT NULL,
    output_partial BOOLEAN NOT NULL,
    cost_nano_usd BIGINT,
    baseline_cost_nano_usd BIGINT,
    planned BOOLEAN NOT NULL,
    uncached_input_tokens BIGINT,
    cache_read_input_tokens BIGINT,
    cache_write_5m_input_tokens BIGINT,
    cache_write_1h_input_tokens BIGINT,
    output_tokens BIGINT,
    thinking_tokens BIGINT,
    web_search_requests BIGINT,
    service_tier TEXT,
    speed TEXT,
    inference_geo TEXT,
    usage_lines TEXT,
    state TEXT NOT NULL,
    CONSTRAINT pk_exchanges PRIMARY KEY (exchange_id),
    CONSTRAINT ck_exchanges_state CHECK (state IN ('open', 'closed'))
);
CREATE INDEX ix_exchanges_opened_at_ms ON exchanges (opened_at_ms);
CREATE INDEX ix_exchanges_session_id ON exchanges (session_id);
CREATE INDEX ix_exchanges_task_tag ON exchanges (task_tag);
CREATE INDEX ix_exchanges_task_type ON exchanges (task_type);
CREATE INDEX ix_exchanges_served_model ON exchanges (served_model);
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    PRIMARY KEY (version_num)
);
