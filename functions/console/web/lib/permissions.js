/** What roles can allow, by module, as the API names it and as people do. */
export const MODULES = [
  {
    title: "Buckets",
    options: [
      {
        value: "buckets:view-own",
        text: "View own",
        note: "Buckets and leads of the token’s own affiliates. What a partner needs.",
      },
      { value: "buckets:view-all", text: "View all", note: "Buckets and leads of all affiliates." },
      { value: "buckets:manage", text: "Manage", note: "Add, change and delete buckets, and route clients into them." },
    ],
  },
  {
    title: "Clients",
    options: [
      { value: "clients:create", text: "Create", note: "Register clients by Sign Up. What a landing page needs." },
      { value: "clients:view", text: "View", note: "See clients with all their data." },
      { value: "clients:manage", text: "Manage", note: "Change clients: status, first deposit, bucket." },
    ],
  },
  {
    title: "Security",
    options: [
      {
        value: "security:manage",
        text: "Manage",
        note: "Add and delete tokens and roles. Whoever may do this can give itself all the rest.",
      },
    ],
  },
];

/** `Buckets: View own` */
export function permissionName(permission) {
  for (const { title, options } of MODULES) {
    const option = options.find(({ value }) => value === permission);
    if (option) return `${title}: ${option.text}`;
  }
  return permission;
}

/** Whether tokens of a role see the leads of their own affiliates only, and so need some. */
export const needsAffiliates = (permissions) =>
  permissions.includes("buckets:view-own") && !permissions.includes("buckets:view-all");
