tell("code");
