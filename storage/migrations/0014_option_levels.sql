-- The level of options trading that an account needs to buy an instrument.

ALTER TABLE instruments ADD COLUMN required_option_level SMALLINT NOT NULL DEFAULT 0
    CONSTRAINT instruments_required_option_level_known CHECK (required_option_level BETWEEN 0 AND 5);
